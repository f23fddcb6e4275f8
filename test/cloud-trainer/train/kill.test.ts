/**
 * kill -9 at random moments of one run: while it loads, in mid-step, in mid-checkpoint. Started again each time, it ends with
 * the same bytes as a run nobody touched; so does one that is recycled. KENPIN_KILLS=50 is the full size; the seed of the moments is told.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { createRandom, type Random } from "@kenpin/stats";
import { startTrainer } from "../../../cloud-trainer/src/trainer-process.ts";
import { inFolder } from "../import/seeded-checkpoint.ts";

const KILLS = Number(process.env["KENPIN_KILLS"] ?? 5);
const STEPS = 12 * (KILLS + 1);
const CHILD = join(import.meta.dirname, "kill-child.ts");
/** Longer than the child takes to load, and than a step with its checkpoint takes. */
const LOAD_MS = 900;
const STEP_MS = 40;

test(`killed at ${KILLS} random moments, a run ends with the weights, moments and losses of an undisturbed one, byte for byte`, async (t) => {
  const seed = Number(process.env["KENPIN_SEED"] ?? Date.now() % 1e6);
  t.diagnostic(`seed ${seed}`);
  const random = createRandom(seed);
  await inFolder(async (whole) => {
    await ended(start(whole));
    await inFolder(async (dir) => {
      const tally = { loading: 0, training: 0, partWritten: 0 };
      for (let kills = 0; kills < KILLS; kills++) {
        const [first] = (await steps(dir)).slice(-1);
        const ahead = random.int(Math.ceil((2 * (STEPS - (first ?? 0))) / (KILLS - kills + 1)));
        const killed = await killedAfter(start(dir), ahead, random);
        if (killed === "ended") break;
        tally[killed]++;
        if ((await readdir(join(dir, "checkpoints")).catch(() => [])).some((name) => name.startsWith("."))) tally.partWritten++;
      }
      t.diagnostic(JSON.stringify(tally));
      assert.equal(tally.loading + tally.training, KILLS, "all kills hit the run");
      await ended(start(dir));
      assert.ok((await readFile(join(dir, "final"))).equals(await readFile(join(whole, "final"))));
      assert.deepEqual(await losses(dir), await losses(whole));
    });
  });
});

test("a trainer that leaks is started again by its supervisor, and ends with the bytes of one that does not", async () => {
  await inFolder(async (whole) => {
    await ended(start(whole));
    await inFolder(async (dir) => {
      const why: string[] = [];
      const command = [process.execPath, ...process.execArgv, CHILD] as const;
      const supervision = { folder: dir, onRestart: (reason: string) => why.push(reason) };
      const seen: number[] = [];
      await startTrainer(command, [dir, String(STEPS), "12"], (line) => seen.push(Number(line)), supervision).done;
      assert.ok(why.length >= 1 && why.every((reason) => /memory/.test(reason)), why.join());
      assert.deepEqual(
        seen,
        Array.from({ length: STEPS }, (_, i) => i + 1),
        "no step is taken twice",
      );
      assert.ok((await readFile(join(dir, "final"))).equals(await readFile(join(whole, "final"))));
    });
  });
});

function start(dir: string): ChildProcess {
  return spawn(process.execPath, [...process.execArgv, CHILD, dir, String(STEPS)], { stdio: ["ignore", "pipe", "inherit"] });
}

async function ended(child: ChildProcess): Promise<void> {
  child.stdout?.resume();
  const code = await new Promise((resolve) => child.once("close", resolve));
  assert.equal(code, 0);
}

/** Kills in some moment of the `ahead`-th step from now; with 0, while it loads. */
async function killedAfter(child: ChildProcess, ahead: number, random: Random): Promise<"loading" | "training" | "ended"> {
  let seen = 0;
  let code: number | null = null;
  const gone = new Promise<void>((resolve) =>
    child.once("close", (ended) => {
      code = ended;
      resolve();
    }),
  );
  const kill = (withinMs: number) => setTimeout(() => child.kill("SIGKILL"), random.between(0, withinMs));
  if (ahead === 0) kill(LOAD_MS);
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", () => {
    seen++;
    if (seen === ahead) kill(STEP_MS);
  });
  await gone;
  if (code !== null) return "ended";
  return seen === 0 ? "loading" : "training";
}

async function metrics(dir: string): Promise<{ step: number; loss?: number; event?: string }[]> {
  const text = await readFile(join(dir, "metrics.jsonl"), "utf8").catch(() => "");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

const steps = async (dir: string) => (await metrics(dir)).filter(({ event }) => event === undefined).map(({ step }) => step);
const losses = async (dir: string) => (await metrics(dir)).filter(({ event }) => event === undefined).map(({ step, loss }) => [step, loss]);
