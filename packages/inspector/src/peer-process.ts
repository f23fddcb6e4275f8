/**
 * A child process that is asked in the frames of protocol.ts, as its parent sees it: started, asked, watched, ended.
 * A child that crashes, hangs, outgrows its memory or talks nonsense is ended, and what it had in hand fails with one line; the
 * parent lives on. Answers come in the order of the questions, so time counts for the oldest question alone.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { KenpinError } from "@kenpin/schema";
import { watchMemory } from "./memory-watch.ts";
import { Answer, encodeMessage, type Message, messageReader, type Progress } from "./protocol.ts";

export type PeerOptions = {
  command: string;
  args: readonly string[];
  /** Begins every message about it: "the inspector". */
  what: string;
  /** Of the errors that tell of its end. */
  code: string;
  memoryLimitMb?: number | undefined;
};
type AskOptions = { timeoutMs?: number; onProgress?: ((progress: Progress) => void) | undefined };
type Reply = { result: unknown; body: Uint8Array };
export type Peer = {
  pid: number;
  ask: (request: Record<string, unknown>, bodies: Uint8Array[], options?: AskOptions) => Promise<Reply>;
  /** Another process that does its work, whose memory counts with its own. */
  alsoWatch: (pid: number) => void;
  /** Settles when it is gone, for whatever reason. */
  ended: Promise<void>;
  /** Why it could not be started at all. */
  readonly spawnFault: string | null;
  /** How it ended, with what it said last. */
  lastWords: () => string;
  /** Ends it whatever it is at. */
  kill: (reason: string) => void;
  /** Lets it finish what it has in hand, for a while. */
  close: () => Promise<void>;
};

type Asked = { resolve: (reply: Reply) => void; reject: (error: Error) => void; options: AskOptions };

const CLOSE_PATIENCE_MS = 2000;
const STDERR_KEPT = 8192;
/** A crashed program says why somewhere above its stack. */
const TELLING = /error|fatal|fail|abort|terminate|memory|exceed/i;

export function startPeer({ command, args, what, code, memoryLimitMb }: PeerOptions): Peer {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] }) as ChildProcessByStdio<Writable, Readable, Readable>;
  const waiting = new Map<number, Asked>();
  let [nextId, stderr, why] = [1, "", ""];
  let spawnFault: string | null = null;
  let timer: NodeJS.Timeout | undefined;

  const kill = (reason: string) => {
    why ||= reason;
    child.kill("SIGKILL");
    failAll();
  };
  const failAll = () => {
    clearTimeout(timer);
    const asked = [...waiting.values()];
    waiting.clear();
    for (const { reject } of asked) reject(new KenpinError(code, `${what} ${lastWords()}`));
  };
  const lastWords = () => why || `process ended${signalOf(child)}${telling(stderr)}`;
  /** The oldest question's time begins when it becomes the oldest. */
  const arm = (ms?: number) => {
    clearTimeout(timer);
    const oldest = waiting.values().next().value;
    const limit = ms ?? oldest?.options.timeoutMs;
    if (oldest && limit !== undefined) timer = setTimeout(() => kill(`did not answer within ${limit / 1000} s`), limit);
  };
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", (error: NodeJS.ErrnoException) => {
      spawnFault = error.code ?? error.message; // no such program, no free descriptor
      why ||= `cannot be started (${spawnFault})`;
      resolve();
    });
  });
  const memory = watchMemory(child.pid, memoryLimitMb, (mb) =>
    kill(`was ended: it held ${mb} MB of memory, ${memoryLimitMb} are its limit (inspector.memoryMb)`),
  );
  void ended.then(() => {
    memory.stop();
    failAll();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk.toString("utf8")).slice(-STDERR_KEPT);
  });
  child.stdin.on("error", () => undefined); // its end is told by `close`
  const settle = ({ header, body }: Message) => {
    const answer = Answer.parse(header);
    const asked = waiting.get(answer.id);
    if (!asked) throw new KenpinError("inspector-garbage", "an answer to nothing that was asked");
    if ("progress" in answer) {
      asked.options.onProgress?.(answer.progress);
      return arm(answer.progress.mayTakeMs);
    }
    waiting.delete(answer.id);
    arm();
    if ("error" in answer) asked.reject(new KenpinError(answer.error.code, answer.error.message));
    else asked.resolve({ result: answer.result, body });
  };
  const read = messageReader(settle);
  child.stdout.on("data", (chunk: Buffer) => {
    try {
      read(chunk);
    } catch {
      kill("answered nonsense and was ended");
    }
  });

  return {
    pid: child.pid ?? 0,
    ask: (request, bodies, options = {}) =>
      new Promise<Reply>((resolve, reject) => {
        if (child.exitCode !== null || child.signalCode !== null || why) {
          return reject(new KenpinError(code, `${what} is not running (${lastWords()})`));
        }
        const id = nextId++;
        waiting.set(id, { resolve, reject, options });
        if (waiting.size === 1) arm();
        child.stdin.write(encodeMessage({ header: { id, ...request }, body: Buffer.concat(bodies) }));
      }),
    alsoWatch: memory.add,
    ended,
    get spawnFault() {
      return spawnFault;
    },
    lastWords,
    kill,
    close: async () => {
      child.stdin.end();
      const patience = setTimeout(() => child.kill("SIGKILL"), CLOSE_PATIENCE_MS);
      await ended;
      clearTimeout(patience);
    },
  };
}

function signalOf({ signalCode, exitCode }: { signalCode: NodeJS.Signals | null; exitCode: number | null }): string {
  if (signalCode) return ` (${signalCode})`;
  return exitCode ? ` (exit code ${exitCode})` : "";
}

function telling(stderr: string): string {
  const lines = stderr.split("\n").flatMap((line) => line.trim() || []);
  const line = lines.find((one) => TELLING.test(one)) ?? lines.at(-1);
  return line ? `: ${line.slice(0, 300)}` : "";
}
