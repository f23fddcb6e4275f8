/**
 * ONNX Runtime in a Python process: python/kenpin_runtime.py, started from here and asked in the frames of protocol.ts.
 * The way to builds that npm does not carry; scores are made of its tensors by the same code as of any other's.
 * A runtime that ends takes its models with it, so the inspector ends too, and is started again whole.
 */
import { join } from "node:path";
import { KenpinError, parseAtDoor, Provider } from "@kenpin/schema";
import { z } from "zod";
import { type Peer, startPeer } from "./peer-process.ts";
import { ranOn } from "./ran-on.ts";
import type { Feed, Opened, Runtime } from "./runtime.ts";

/** Beside both the sources and the compiled files. */
const SCRIPT = join(import.meta.dirname, "../python/kenpin_runtime.py");
/** Loading the libraries from a slow card. */
const HELLO_TIMEOUT_MS = 120_000;

const Hello = z.strictObject({ version: z.string().max(64), python: z.string().max(64), offered: z.array(Provider).max(8) });
const OpenResult = z.strictObject({ model: z.int().min(1) });
const RunResult = z.strictObject({ outputs: z.array(z.strictObject({ name: z.string().max(200), length: z.int().min(0) })).max(512) });
const CloseResult = z.strictObject({ events: z.array(z.unknown()) });

/** Throws with one line where there is no such interpreter, or not what it needs. `onEnded` is told why it is gone. */
export async function startPythonRuntime(python: string, onEnded: (why: string) => void, script = SCRIPT): Promise<Runtime> {
  const peer = startPeer({ command: python, args: ["-B", script], what: `the Python runtime (${python})`, code: "runtime-failed" });
  const { version, python: language, offered } = await greet(peer, python);
  void peer.ended.then(() => onEnded(peer.lastWords()));
  return {
    kind: "python",
    version: `${version}, Python ${language}`,
    offered,
    pid: peer.pid,
    open: async (file, provider, options) => {
      const [named, body] = typeof file === "string" ? [{ model: file }, []] : [{}, [file]];
      const answer = await peer.ask({ op: "open", ...named, provider, ...options }, body);
      const { model } = parseAtDoor(OpenResult, answer.result, "the Python runtime's answer");
      return opened(peer, model);
    },
  };
}

async function greet(peer: Peer, python: string): Promise<z.infer<typeof Hello>> {
  try {
    const { result } = await peer.ask({ op: "hello" }, [], { timeoutMs: HELLO_TIMEOUT_MS });
    return parseAtDoor(Hello, result, "the Python runtime's greeting");
  } catch (error) {
    await peer.close();
    if (peer.spawnFault !== null) {
      throw new KenpinError(
        "python-missing",
        `the Python interpreter "${python}" cannot be started (${peer.spawnFault}); install it or name another in inspector.python`,
      );
    }
    throw error;
  }
}

function opened(peer: Peer, model: number): Opened {
  return {
    run: async (feeds, outputs) => {
      const inputs = Object.entries(feeds).map(([name, { data, dims }]) => ({ name, type: typeOf(data), dims }));
      const bodies = Object.values(feeds).map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      const { result, body } = await peer.ask({ op: "run", model, inputs, outputs }, bodies);
      return unpackOutputs(parseAtDoor(RunResult, result, "the Python runtime's answer").outputs, body);
    },
    release: async () => {
      const { result } = await peer.ask({ op: "close", model }, []);
      return ranOn(parseAtDoor(CloseResult, result, "the Python runtime's answer").events);
    },
  };
}

export function typeOf(data: Feed["data"]): "float32" | "int64" {
  return data instanceof Float32Array ? "float32" : "int64";
}

/** Named outputs from one body of float32 numbers. */
export function unpackOutputs(outputs: readonly { name: string; length: number }[], body: Uint8Array): Record<string, Float32Array> {
  const total = outputs.reduce((sum, { length }) => sum + length, 0);
  if (body.length !== total * 4) {
    throw new KenpinError("inspector-garbage", `the runtime announced ${total} numbers and sent ${body.length} bytes; it is restarted`);
  }
  // A copy of its own where the message starts at any byte; a runtime pads its header, because this is megabytes a frame.
  const isAligned = body.byteOffset % 4 === 0;
  const numbers = isAligned ? new Float32Array(body.buffer, body.byteOffset, total) : new Float32Array(new Uint8Array(body).buffer);
  const tensors: Record<string, Float32Array> = {};
  let at = 0;
  for (const { name, length } of outputs) {
    tensors[name] = numbers.subarray(at, at + length);
    at += length;
  }
  return tensors;
}
