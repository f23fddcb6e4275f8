/**
 * One `kenpin` command as a child process: training and staging take gigabytes and minutes, and must neither stall the
 * hub nor take it down. In: arguments. Out: its stdout, line by line and bounded; its last words where it fails.
 * A training whose checkpoints went on is started again when it asks for that (its memory has grown: exit code 75, sysexits'
 * EX_TEMPFAIL) or was ended by a signal; it resumes from its last checkpoint.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import { KenpinError } from "@kenpin/schema";
import { checkpointsUnder, RECYCLE } from "./train/run-folder.ts";
import { TRAINER_ENVIRONMENT } from "./train/trainer-environment.ts";

/** A RunProgress has 200 bytes; a line beyond this is no message of ours and is cut. */
const LINE_LIMIT = 64 * 1024;
const TAIL_LIMIT = 16 * 1024;
const PATIENCE_MS = 3000;
/** A native crash that comes back so often is no accident. */
const CRASHES = 3;
/** Somebody's wish, and no crash. */
const ASKED: readonly NodeJS.Signals[] = ["SIGTERM", "SIGINT", "SIGHUP"];

export type TrainerProcess = { pid: () => number | undefined; done: Promise<void>; stop: () => Promise<void> };
/** How this very program was started, e.g. node, its flags, cli.ts. */
export type TrainerCommand = readonly [program: string, ...args: string[]];
/** With a run's folder, the command is started again as long as checkpoints in it go on; `onRestart` is told why. */
type Supervision = { folder: string; onRestart: (why: string) => void };
type Ending = { code: number | null; signal: NodeJS.Signals | null; tail: string };

export function startTrainer(
  command: TrainerCommand,
  args: string[],
  onLine: (line: string) => void,
  supervision?: Supervision,
): TrainerProcess {
  const now = { child: startChild(command, args, onLine), stopped: false };
  const again = () => {
    now.child = startChild(command, args, onLine);
    return now.child.ended;
  };
  const done = follow(now.child.ended, again, () => now.stopped, supervision);
  done.catch(() => undefined); // whoever waits for it sees the same error
  const stop = () => {
    now.stopped = true;
    return end(now.child.process);
  };
  return { pid: () => now.child.process.pid, done, stop };
}

async function follow(
  first: Promise<Ending>,
  again: () => Promise<Ending>,
  stopped: () => boolean,
  supervision: Supervision | undefined,
): Promise<void> {
  const reached = async () => (supervision ? (await checkpointsUnder(supervision.folder)).join() : "");
  let [before, crashes, ending] = [await reached(), 0, await first];
  while (ending.code !== 0) {
    const now = await reached();
    if (ending.signal) crashes++;
    if (stopped() || !supervision || !startsAgain(ending, { moved: now !== before, crashes })) throw failure(ending);
    supervision.onRestart(ending.signal ? `the trainer was ended by ${ending.signal}` : "the trainer's memory had grown to its limit");
    before = now;
    ending = await again();
  }
}

function startsAgain({ code, signal }: Ending, { moved, crashes }: { moved: boolean; crashes: number }): boolean {
  if (!moved) return false;
  return signal ? !ASKED.includes(signal) && crashes <= CRASHES : code === RECYCLE.exitCode;
}

function startChild([program, ...flags]: TrainerCommand, args: string[], onLine: (line: string) => void) {
  // The channel carries no message: it breaks when the hub dies, and the command ends with it (see cli.ts).
  const child = spawn(program, [...flags, ...args], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    env: { ...TRAINER_ENVIRONMENT, ...process.env },
  });
  const { stdout, stderr } = child;
  if (!stdout || !stderr) throw new KenpinError("trainer-failed", "the trainer was started without its outputs");
  let tail = "";
  stderr.setEncoding("utf8").on("data", (text: string) => {
    tail = (tail + text).slice(-TAIL_LIMIT);
  });
  readLines(stdout, onLine);
  const ended = new Promise<Ending>((resolve, reject) => {
    child.once("error", (error) => reject(new KenpinError("trainer-failed", `the trainer did not start: ${error.message}`)));
    child.once("close", (code, signal) => resolve({ code, signal, tail }));
  });
  ended.catch(() => undefined); // follow() sees it when its turn comes
  return { process: child, ended };
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

function failure({ code, signal, tail }: Ending): KenpinError {
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
