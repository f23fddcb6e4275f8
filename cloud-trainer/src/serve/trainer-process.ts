/**
 * One `kenpin` command as a child process: training and staging take gigabytes and minutes, and must neither stall the
 * hub nor take it down. In: arguments. Out: its stdout, line by line and bounded; its last words where it fails.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { KenpinError } from "@kenpin/schema";

/** A RunProgress has 200 bytes; a line beyond this is no message of ours and is cut. */
const LINE_LIMIT = 64 * 1024;
const TAIL_LIMIT = 16 * 1024;
const PATIENCE_MS = 3000;

export type TrainerProcess = { pid: number | undefined; done: Promise<void>; stop: () => Promise<void> };
/** How this very program was started, e.g. node, its flags, cli.ts. */
export type TrainerCommand = readonly [program: string, ...args: string[]];

export function startTrainer([program, ...flags]: TrainerCommand, args: string[], onLine: (line: string) => void): TrainerProcess {
  // The channel carries no message: it breaks when the hub dies, and the command ends with it (see cli.ts).
  const child = spawn(program, [...flags, ...args], { stdio: ["ignore", "pipe", "pipe", "ipc"] });
  if (!child.stdout || !child.stderr) throw new KenpinError("trainer-failed", "the trainer was started without its outputs");
  let tail = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    tail = (tail + text).slice(-TAIL_LIMIT);
  });
  readLines(child.stdout, onLine);
  const done = new Promise<void>((resolve, reject) => {
    child.once("error", (error) => reject(new KenpinError("trainer-failed", `the trainer did not start: ${error.message}`)));
    child.once("close", (code, signal) => (code === 0 ? resolve() : reject(failure(code, signal, tail))));
  });
  done.catch(() => undefined); // whoever waits for it sees the same error
  return { pid: child.pid, done, stop: () => end(child) };
}

/** Starts one command at a time or several, collects what they print, and ends them all when the hub stops. */
export function startTrainers(command: TrainerCommand) {
  const running = new Set<TrainerProcess>();
  return {
    run: async (args: string[]): Promise<string[]> => {
      const lines: string[] = [];
      const child = startTrainer(command, args, (line) => lines.push(line));
      running.add(child);
      await child.done.finally(() => running.delete(child));
      return lines;
    },
    stop: async () => {
      await Promise.all([...running].map((child) => child.stop()));
    },
  };
}

function readLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = (lines.pop() ?? "").slice(0, LINE_LIMIT + 1); // one over, so that a cut line is known as one
    for (const line of lines) if (line.length <= LINE_LIMIT) onLine(line);
  });
  stream.on("end", () => rest && rest.length <= LINE_LIMIT && onLine(rest));
}

function failure(code: number | null, signal: NodeJS.Signals | null, tail: string): KenpinError {
  const lines = tail.trim().split("\n");
  // Our commands say what is wrong in one line; what is not ours (a crash in native code) says it last.
  const words = (lines.findLast((line) => /^(kenpin|error): /.test(line)) ?? lines.slice(-3).join(" ")).replace(/^kenpin: /, "");
  const memory = signal === "SIGKILL" ? " (killed from outside; often the machine ran out of memory)" : "";
  const how = signal ? `was ended by ${signal} (${constants.signals[signal]})${memory}` : `ended with code ${code}`;
  return new KenpinError("trainer-failed", words ? `${words} (the trainer ${how})` : `the trainer ${how} without a word`);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  await gone;
  clearTimeout(timer);
}
