/**
 * A camera read by a program of its own (ffmpeg, gst-launch-1.0): started without a shell, its pictures read from a pipe, and ended when
 * it gives none for too long. What it says on stderr is kept for the one line that tells why it ended, cleaned of every secret.
 * In: program and arguments. Out: a Feed. The child gets no environment but what a program needs, so no password of the agent's.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { KenpinError } from "@kenpin/schema";
import type { Feed, FeedSink } from "./live-camera.ts";
import { withoutSecrets } from "./login.ts";
import { PictureSplitter } from "./picture-splitter.ts";

export type Program = { command: string; args: string[]; secrets: string[] };
export type ChildFeedOptions = {
  /** Made anew at every start, since a password may have changed. */
  program: () => Promise<Program>;
  /** Without a picture for so long it is ended. */
  silenceMs: number;
};

const LAST_WORDS = 2000;
const GRACE_MS = 500;
/** Where programs, their libraries and GStreamer's plugins and drivers are found. */
const ENVIRONMENT = ["PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "TMPDIR"];

export function childFeed({ program, silenceMs }: ChildFeedOptions): Feed {
  return async (sink) => {
    const { command, args, secrets } = await program();
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: environment(), shell: false });
    const words = lastWords(child, secrets);
    const why = await run(child, sink, silenceMs);
    await end(child);
    if (!sink.signal.aborted) throw new KenpinError("camera-ended", `${command} ${why}${words()}`);
  };
}

/** Reads pictures until the child ends, falls silent, says something else, or is not wanted any more; answers which. */
function run(child: ChildProcess, { onPicture, signal }: FeedSink, silenceMs: number): Promise<string> {
  return new Promise((resolve) => {
    const splitter = new PictureSplitter();
    const silence = setTimeout(() => resolve(`gave no picture for ${silenceMs} ms`), silenceMs);
    const settle = (why: string) => {
      clearTimeout(silence);
      signal.removeEventListener("abort", stop); // it outlives the child by months
      child.stdout?.removeAllListeners("data");
      resolve(why);
    };
    const stop = () => settle("was stopped");
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    child.once("error", (error: NodeJS.ErrnoException) =>
      settle(error.code === "ENOENT" ? "is not installed" : `did not start (${error.code})`),
    );
    child.once("exit", (code, killedBy) => settle(`ended (${killedBy ?? `exit code ${code}`})`));
    child.stdout?.on("data", (chunk: Buffer) => {
      try {
        for (const picture of splitter.push(chunk)) {
          silence.refresh();
          onPicture(picture, performance.now());
        }
      } catch (error) {
        settle(`is of no use: ${(error as Error).message}`);
      }
    });
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const hard = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
  await gone;
  clearTimeout(hard);
}

/** What it said last on stderr, as the end of a sentence. */
function lastWords(child: ChildProcess, secrets: readonly string[]): () => string {
  let text = "";
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
    text = (text + chunk).slice(-LAST_WORDS);
  });
  return () => {
    const lines = withoutSecrets(text, secrets)
      .split("\n")
      .filter((line) => line.trim() !== "");
    return lines.length === 0 ? "" : `: ${lines.slice(-3).join(" / ").slice(0, 500)}`;
  };
}

function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => ENVIRONMENT.includes(name) || /^(GST|GENICAM|ARV)_/.test(name));
  return Object.fromEntries(kept);
}
