/** The inspector's process under what can happen to it on a device: nonsense in either direction, and no memory left. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startInspector } from "@kenpin/inspector";
import { type Peer, type PeerOptions, startPeer } from "../../packages/inspector/src/peer-process.ts";
import { encodeMessage } from "../../packages/inspector/src/protocol.ts";
import { drawFrame } from "../support/test-bundle.ts";
import { unpackedTestBundle } from "../support/unpacked-bundle.ts";

const WORKER = join(import.meta.dirname, "../../packages/inspector/src/worker.ts");
const FLAGS = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];

/** Of the test bundle's tokens. */
const WIDTH = 32;
const skip = process.platform === "linux" ? false : "memory is watched and limited on Linux alone";

let folder: string;
let bundleDir: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kenpin-worker-"));
  bundleDir = await unpackedTestBundle(join(folder, "bundle"));
});
after(() => rm(folder, { recursive: true, force: true }));

test("a worker that is fed garbage by a stray writer ends with one line, at the start and between two questions", async () => {
  const question = encodeMessage({ header: { id: 1, op: "runtime", python: null }, body: new Uint8Array() });
  const noHeader = Buffer.from([0, 0, 0, 2, 0, 0, 0, 0, 0x7b, 0x7b]);
  const noId = encodeMessage({ header: { op: "inspect" } as never, body: new Uint8Array() });
  for (const garbage of ["echo 1 > /proc/self/fd/0\n", noHeader, noId, Buffer.concat([question, Buffer.alloc(64, 0xff)])]) {
    const child = spawn(process.execPath, [...FLAGS, WORKER], { stdio: ["pipe", "pipe", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    child.stdin.on("error", () => undefined);
    child.stdin.write(garbage);
    const [code] = (await once(child, "close")) as [number];
    assert.equal(code, 1);
    assert.match(stderr, /^stdin carries nothing of the agent's: the inspector's pipe carries [^\n]+\n$/);
  }
});

test("a question that is none is answered with what is wrong with it, and the next one is answered", async () => {
  const asked = worker();
  try {
    const wrong: [question: Record<string, unknown>, code: string, says: RegExp][] = [
      [{ op: "dance" }, "invalid-input", /^a question to the inspector at op/],
      [{ op: "open", bundleDir: 7 }, "invalid-input", /bundleDir/],
      [{ op: "open", bundleDir, treads: 2 }, "invalid-input", /unknown key "treads"/],
      [{ op: "inspect", map: false }, "model-not-ready", /no bundle has been opened/],
      [{ op: "open", bundleDir, providers: ["abacus"] }, "invalid-input", /providers/],
    ];
    for (const [question, code, message] of wrong) await assert.rejects(asked.ask(question, []), { code, message });
    assert.ok((await asked.ask({ op: "open", bundleDir }, [])).result);
  } finally {
    await asked.close();
  }
});

test("a worker that answers nonsense is ended, and whoever asked is told in one line", async () => {
  const answer = (header: unknown, length?: number) => {
    const json = Buffer.from(JSON.stringify(header));
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32BE(length ?? json.length, 0);
    return Buffer.concat([lengths, json]).toString("hex");
  };
  const nonsense = {
    "a library's banner": Buffer.from("TensorRT is warming up, please wait\n").toString("hex"),
    "an answer to nothing": answer({ id: 99, ok: true, result: {} }),
    "neither answer nor error": answer({ id: 1, well: "perhaps" }),
    "no JSON": answer("x", 1),
    "a gigabyte to come": answer({ id: 1 }, 2 ** 30),
  };
  for (const [name, hex] of Object.entries(nonsense)) {
    const peer = standIn(
      `process.stdin.once("data", () => process.stdout.write(Buffer.from("${hex}", "hex"))); setInterval(() => {}, 1000);`,
    );
    await assert.rejects(
      peer.ask({ op: "hello" }, []),
      { code: "stand-in-failed", message: "the stand-in answered nonsense and was ended" },
      name,
    );
    await peer.ended;
    await assert.rejects(peer.ask({ op: "hello" }, []), { message: /is not running \(answered nonsense/ });
  }
});

test("the time of a question counts from when the one before it was answered, and progress gives it more", async () => {
  const peer = standIn(`
    const say = (header) => { const json = Buffer.from(JSON.stringify(header)); const n = Buffer.alloc(8); n.writeUInt32BE(json.length, 0); process.stdout.write(Buffer.concat([n, json])); };
    const at = (ms, header) => setTimeout(() => say(header), ms);
    process.stdin.once("data", () => {
      at(500, { id: 1, ok: true, result: 1 });
      at(1000, { id: 2, ok: true, result: 2 });
      at(1200, { id: 3, progress: { step: "open", provider: "cuda", mayTakeMs: 5000 } });
      at(2500, { id: 3, ok: true, result: 3 });
    });`);
  const timeoutMs = 900;
  const steps: string[] = [];
  const asked = [1, 2, 3].map(() => peer.ask({}, [], { timeoutMs, onProgress: ({ provider }) => steps.push(provider) }));
  await Promise.all(asked);
  assert.deepEqual(steps, ["cuda"]);
  await assert.rejects(peer.ask({}, [], { timeoutMs: 200 }), { message: "the stand-in did not answer within 0.2 s" });
});

test("an inspector that holds more memory than its limit is ended, and the message says how much and which limit", { skip }, async () => {
  await assert.rejects(async () => {
    const inspector = await startInspector({ bundleDir, memoryLimitMb: 64 });
    await inspector.ended; // the bundle may be open before memory is looked at
    await inspector.inspect(await drawFrame());
  }, /^KenpinError: the inspector (is not running \()?was ended: it held \d+ MB of memory, 64 are its limit/);
});

test("where the runtime finds no memory, that question fails and the next one is answered", { skip }, async () => {
  const free = worker();
  await far(free, 10);
  const kb = Number(/VmSize:\s+(\d+)/.exec(await readFile(`/proc/${free.pid}/status`, "utf8"))?.[1]);
  await free.close();
  const limited = worker(kb + 512 * 1024);
  try {
    await far(limited, 10);
    await assert.rejects(far(limited, 30_000), { code: "inspector-failed", message: /memory|alloc/i }); // 30,000² distances are 3.6 GB
    await far(limited, 10);
  } finally {
    await limited.close();
  }
});

/** With so much address space as the shell's limit leaves it. */
function worker(limitKb?: number): Peer {
  const limit = limitKb === undefined ? "" : `ulimit -v ${limitKb} && `;
  const args = ["-c", `${limit}exec "$0" "$@"`, process.execPath, ...FLAGS, WORKER];
  return startPeer({ command: "sh", args, what: "the inspector", code: "inspector-failed" });
}

/** Distances between so many rows and so many others. */
function far(asked: Peer, rows: number): Promise<unknown> {
  const input = (name: string) => ({ name, type: "float32", dims: [rows, WIDTH] });
  const numbers = new Uint8Array(rows * WIDTH * 4);
  const request = { op: "run", model: join(bundleDir, "nearest.onnx"), inputs: [input("tokens"), input("bank")] };
  return asked.ask(request, [numbers, numbers]);
}

function standIn(script: string): ReturnType<typeof startPeer> {
  const options: PeerOptions = { command: process.execPath, args: ["-e", script], what: "the stand-in", code: "stand-in-failed" };
  return startPeer(options);
}
