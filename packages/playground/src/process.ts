/**
 * One supervised process of the factory: started from source, logged to a file, started again when it dies unasked.
 * Restarts wait twice as long each time up to five seconds, and start over once a process has lived ten seconds.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { KenpinError } from "@kenpin/schema";

export type ProcessOptions = {
  name: string;
  args: string[];
  logFile: string;
  env?: Record<string, string>;
  onLine?: (line: string) => void;
};

const SOURCE_FLAGS = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 5000;
const SETTLED_MS = 10_000;

export class FactoryProcess {
  readonly name: string;
  restarts = 0;
  #options: ProcessOptions;
  #log: WriteStream;
  #child: ChildProcess | null = null;
  #stopping = false;
  #waitMs = FIRST_WAIT_MS;
  #lastLines: string[] = [];

  constructor(options: ProcessOptions) {
    this.name = options.name;
    this.#options = options;
    this.#log = createWriteStream(options.logFile, { flags: "a" });
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    const startedAt = Date.now();
    const child = spawn(process.execPath, [...SOURCE_FLAGS, ...this.#options.args], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...this.#options.env },
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", (line) => this.#onLine(line));
    child.on("exit", () => {
      this.#child = null;
      if (!this.#stopping) void this.#startAgain(Date.now() - startedAt);
    });
  }

  /** Waits for a printed line that matches; fails with the process's last words when it dies three times first. */
  async waitFor(pattern: RegExp, timeoutMs: number): Promise<RegExpMatchArray> {
    const deadline = Date.now() + timeoutMs;
    while (Date.now() < deadline && this.restarts < 3) {
      const match = this.#lastLines.map((line) => line.match(pattern)).find((found) => found !== null);
      if (match) return match;
      await sleep(50);
    }
    // Each start ends with the same words when something outside is wrong; they are said once.
    const plain = this.#lastLines.filter((line) => !line.startsWith("{")); // log records are for the log
    const lastWords = [...new Set(plain)].slice(-3).map((line) => line.replace(/^kenpin: /, ""));
    throw new KenpinError("process-not-ready", `the ${this.name} did not become ready: ${lastWords.join(" | ") || "it said nothing"}`);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Asks it to end and waits; after five seconds it is ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child && child.exitCode === null) {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      const patience = new AbortController();
      await Promise.race([gone, sleep(5000, undefined, { signal: patience.signal }).catch(() => undefined)]);
      patience.abort();
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    }
    this.#log.end();
  }

  async #startAgain(livedMs: number): Promise<void> {
    this.restarts++;
    if (livedMs > SETTLED_MS) this.#waitMs = FIRST_WAIT_MS;
    await sleep(this.#waitMs);
    this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_WAIT_MS);
    if (!this.#stopping) this.start();
  }

  #onLine(line: string): void {
    if (!this.#log.writableEnded) this.#log.write(`${line}\n`);
    this.#lastLines = [...this.#lastLines, line].slice(-50);
    this.#options.onLine?.(line);
  }
}
