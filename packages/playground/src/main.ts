/**
 * `npm start`: a factory in a box on this machine. Plays the story, then keeps the line running until Ctrl-C.
 * `npm start -- --once` plays the story once and exits; the last line of stdout is its summary as one JSON object.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { errorLine, KenpinError } from "@kenpin/schema";
import { type Factory, startFactory } from "./factory.ts";
import { type Frame, type Split, splitFrames } from "./frames.ts";
import { Progress } from "./progress.ts";
import { type StoryResult, tellStory } from "./story.ts";
import { inWords, summarise } from "./summary.ts";

const ROOT = resolve(import.meta.dirname, "../../..");
const DEFAULT_PORT = 8420;
const HELP = `npm start -- [options]

Runs a factory on this machine: an MQTT broker, the hub with its page, and an edge agent on a camera that plays real
textile frames. It goes from words to a retrained model in about five minutes, then keeps the line running until Ctrl-C.

  --once          play the story once, print a JSON summary as the last line, exit
  --port N        the page's port (default ${DEFAULT_PORT})
  --broker URL    use this MQTT broker instead of the embedded one, e.g. mqtt://127.0.0.1:1883
  --frames DIR    frames to play: good/ and one folder a kind of defect (default examples/textile)
  --data DIR      keep everything here instead of in a temporary folder
  --verbose       show the processes' own logs
  --help          this text
`;

const progress = new Progress();
try {
  await main();
} catch (error) {
  progress.note(`kenpin: ${errorLine(error)}`);
  process.exitCode = 1;
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options.help) {
    process.stdout.write(HELP);
    return;
  }
  const split = splitFrames(options.frames);
  if (options.data !== undefined && existsSync(join(options.data, "hub"))) {
    throw new KenpinError(
      "data-in-use",
      `${options.data} holds an earlier story, whose verdicts would be counted as this one's; give an empty folder`,
    );
  }
  const dataDir = options.data ?? (await mkdtemp(join(tmpdir(), "kenpin-")));
  const startedAt = Date.now();
  let factory: Factory | null = null;
  const stop = onStop();
  let keep = options.data !== undefined;
  try {
    const onLog = options.verbose ? (name: string, line: string) => progress.note(`${name}: ${line}`) : undefined;
    factory = await startFactory({ dataDir, hubPort: options.port, brokerUrl: options.broker, onLog }, (text) => progress.note(text));
    progress.note(`The page: ${factory.loginUrl}`);
    const story = await Promise.race([tellStory(factory, split, progress.tell), stop]);
    if (!story) return;
    const summary = summarise({
      story,
      played: factory.line.played.length + factory.audit.played.length,
      bundleBefore: {
        digest: factory.bundle.digest,
        bytes: factory.bundle.bytes,
      },
      baseline: await baseline(dataDir, story, split),
    });
    progress.note(`The story took ${Math.round((Date.now() - startedAt) / 1000)} s.`);
    for (const line of inWords(summary)) progress.note(line);
    if (!options.once) await keepRunning(factory, split, stop);
    process.stdout.write(`${JSON.stringify(summary)}\n`);
  } catch (error) {
    if (!keep && (await readdir(dataDir)).length > 0) {
      keep = true;
      progress.note(`Everything is kept for a look, the processes' logs too: ${dataDir}`);
    }
    throw error;
  } finally {
    await factory?.stop();
    if (!keep) await rm(dataDir, { recursive: true, force: true });
  }
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        once: { type: "boolean", default: false },
        port: { type: "string", default: String(DEFAULT_PORT) },
        broker: { type: "string" },
        frames: { type: "string", default: join(ROOT, "examples/textile") },
        data: { type: "string" },
        verbose: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new Error(`--port takes a number from 0 to 65535, not "${values.port}"`);
    return { ...values, port };
  } catch (error) {
    throw new KenpinError("bad-option", `${(error as Error).message.split("\n")[0]}; npm start -- --help lists the options`, {
      cause: error,
    });
  }
}

/** Plain hand-made features with logistic regression, taught the very labels the trainer had; it enters nothing else. */
async function baseline(dataDir: string, story: StoryResult, split: Split): Promise<{ frame: Frame; score: number }[]> {
  const seen = new Map(split.seen.map((frame) => [frame.sha256, frame]));
  const train = story.samples.flatMap(({ sample, label }) => {
    const frame = seen.get(sample.frame.sha256);
    return frame && label && label.label !== "unsure" ? [{ file: frame.file, label: label.label }] : [];
  });
  const request = join(dataDir, "baseline.json");
  await writeFile(request, JSON.stringify({ train, test: split.unseen.map((frame) => frame.file) }));
  const scores = JSON.parse(await run(["baseline", "--request", request, "--json"])) as { scores: number[] };
  return split.unseen.map((frame, i) => ({
    frame,
    score: scores.scores[i] as number,
  }));
}

/** One call of the trainer's command line; answers with its stdout. */
async function run(args: string[]): Promise<string> {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  const child = spawn(process.execPath, [...flags, join(ROOT, "cloud-trainer/src/cli.ts"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  const code = await new Promise((done) => child.on("close", done));
  if (code !== 0) throw new KenpinError("command-failed", `kenpin ${args[0]} ended with ${code}; its lines are above`);
  return Buffer.concat(chunks).toString("utf8");
}

async function keepRunning(factory: Factory, split: Split, stop: Promise<null>): Promise<void> {
  progress.note(`The line goes on; the page stays at ${factory.hubUrl}. Ctrl-C ends it.`);
  const ended = new AbortController();
  void stop.then(() => ended.abort());
  while (!ended.signal.aborted) await factory.line.play(split.seen, 1000, ended.signal);
}

/** Resolves with null at the first Ctrl-C; a second one ends at once. */
function onStop(): Promise<null> {
  return new Promise((resolveStop) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolveStop(null));
  });
}
