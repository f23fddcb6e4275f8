/**
 * The worker process as its parent sees it: starts it, asks, and stays alive whatever happens to it.
 * A worker that crashes, hangs or talks nonsense is ended, and what it had in hand fails with `inspector-failed`.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { KenpinError } from "@kenpin/schema";
import { encodeMessage, type Message, messageReader } from "./protocol.ts";

const ORIGIN = import.meta.filename;

type Answer = { result: unknown; body: Uint8Array };
type Waiting = { resolve: (answer: Answer) => void; reject: (error: Error) => void; timer: NodeJS.Timeout };

export function startWorker() {
  const child = spawnWorker();
  const waiting = new Map<number, Waiting>();
  let nextId = 1;
  let stderr = "";
  const fail = (why: string) => {
    for (const { reject, timer } of waiting.values()) {
      clearTimeout(timer);
      reject(new KenpinError("inspector-failed", `the inspector ${why}${stderr ? `: ${stderr.trim().split("\n").at(-1)}` : ""}`));
    }
    waiting.clear();
  };
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", () => resolve()); // it could not be started at all: no such program, no free descriptor
  });
  void ended.then(() => fail("process ended"));
  child.stderr.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk.toString("utf8")).slice(-2000);
  });
  const settle = ({ header, body }: Message) => {
    const asked = waiting.get(header.id);
    if (!asked) return;
    waiting.delete(header.id);
    clearTimeout(asked.timer);
    const error = header["error"] as { code: string; message: string } | undefined;
    if (error) asked.reject(new KenpinError(error.code, error.message));
    else asked.resolve({ result: header["result"], body });
  };
  const read = messageReader(settle);
  child.stdout.on("data", (chunk: Buffer) => {
    try {
      read(chunk);
    } catch {
      child.kill("SIGKILL");
    }
  });
  child.stdin.on("error", () => fail("stopped listening"));

  const ask = (request: Record<string, unknown>, bodies: Uint8Array[], timeoutMs: number) =>
    new Promise<Answer>((resolve, reject) => {
      const id = nextId++;
      const timer = setTimeout(() => {
        child.kill("SIGKILL");
        fail(`did not answer within ${timeoutMs / 1000} s`);
      }, timeoutMs);
      waiting.set(id, { resolve, reject, timer });
      if (child.exitCode !== null || child.signalCode !== null) fail("is not running");
      else child.stdin.write(encodeMessage({ header: { id, ...request }, body: Buffer.concat(bodies) }));
    });
  const close = async () => {
    child.stdin.end();
    const patience = setTimeout(() => child.kill("SIGKILL"), 2000);
    await ended;
    clearTimeout(patience);
  };
  return { pid: child.pid ?? 0, ask, ended, close };
}

function spawnWorker(): ChildProcessByStdio<Writable, Readable, Readable> {
  // The same file ending as this one: source while developing, compiled when installed.
  const file = ORIGIN.replace(/worker-process\.(ts|js)$/, "worker.$1");
  return spawn(process.execPath, [...process.execArgv.filter((flag) => !flag.startsWith("--test")), file], {
    stdio: ["pipe", "pipe", "pipe"],
  });
}
