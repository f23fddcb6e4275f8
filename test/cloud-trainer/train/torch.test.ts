/**
 * The engine torch by itself: its fast towers against timm's and open_clip's, one rank against two, ranks that are killed,
 * and what is said where something is missing. What needs Python is skipped where the engine is not installed.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { promisify } from "node:util";
import { surfacePool } from "../../../cloud-trainer/src/samples/batch.ts";
import { captionedBatches, surfaceSource } from "../../../cloud-trainer/src/samples/captioned-batch.ts";
import { openPictureSet } from "../../../cloud-trainer/src/samples/picture-set.ts";
import { writeShards } from "../../../cloud-trainer/src/samples/sets/write-shards.ts";
import { BASE_WORDS } from "../../../cloud-trainer/src/samples/words.ts";
import { createTorchEngine } from "../../../cloud-trainer/src/train/engines/torch/engine.ts";
import { followRun } from "../../../cloud-trainer/src/train/engines/torch/follow.ts";
import { lookAtPython, needGpus, PACKAGE_DIR } from "../../../cloud-trainer/src/train/engines/torch/python.ts";
import { skyTask } from "../../../cloud-trainer/src/train/engines/torch/sky-task.ts";
import { openRunFolder } from "../../../cloud-trainer/src/train/run-folder.ts";
import { Recipe } from "@kenpin/schema";
import sharp from "sharp";
import { runRecipe } from "../../../cloud-trainer/src/recipe/run.ts";
import { SMALL, smallSetup, smallTokenizer } from "./small-model.ts";
import { python, skip } from "./torch-python.ts";

const sky = process.env["KENPIN_SKYPILOT"];
const RANKS_APART = 1e-4;
const pool = surfacePool(5, SMALL.image.size, 96, () => undefined);
const OPTIMIZER = { rates: { image: 0.004, text: 0.001, other: 0.004 }, layerDecay: { image: 0.8, text: 0.7 } };

async function temporary(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "kenpin-torch-"));
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }));
  return dir;
}

type Wanted = {
  processes: number;
  nodes?: { count: number; index: number; rendezvous: string };
  steps: number;
  microBatch?: number;
  shards?: string[];
  checkpointEvery?: number;
  onStep?: (step: number) => void;
};

async function losses(
  dir: string,
  { processes, nodes, steps, microBatch, shards, checkpointEvery = 20, onStep }: Wanted,
): Promise<number[]> {
  const engine = createTorchEngine({ gpus: null, processes, nodes, precision: "float32", compile: false });
  const folder = await openRunFolder(dir);
  const setup = smallSetup(steps, OPTIMIZER);
  const batch = 16;
  const stage = {
    ...setup.recipe,
    checkpointEvery,
    batch,
    augmentation: { crop: [0.9, 1], flip: false },
    patchDropout: { ratio: 0.5, unmaskedTail: 0.3 },
  };
  try {
    await engine.trainContrastive({
      ...setup,
      recipe: stage,
      folder,
      tokenizer: smallTokenizer,
      words: BASE_WORDS,
      loss: "clip",
      patchLoss: shards ? 0 : 2,
      microBatch: microBatch ?? null,
      shards: shards ?? null,
      generated: null,
      references: { loss: 0, tokenLayers: [] },
      batchAt: captionedBatches([surfaceSource(pool, SMALL, 1)], { config: SMALL, size: batch, dropout: stage.patchDropout, seed: 1 }),
      onStep: ({ step }) => onStep?.(step),
    });
  } finally {
    folder.close();
  }
  return lossesIn(dir);
}

async function lossesIn(dir: string): Promise<number[]> {
  const lines = (await readFile(join(dir, "metrics.jsonl"), "utf8")).trim().split("\n");
  return lines.map((line) => JSON.parse(line)).flatMap((line) => (typeof line.loss === "number" ? [line.loss as number] : []));
}

const farthest = (a: number[], b: number[]) => Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));

test("the fast towers, their GPU kernels and the tiled loss give timm's and open_clip's numbers and gradients", { skip }, async (t) => {
  const env = { ...process.env, PYTHONPATH: PACKAGE_DIR };
  const script = join(import.meta.dirname, "../../fixtures/train/torch_checks.py");
  const { stdout } = await promisify(execFile)(python, [script], { env });
  const { plain, kernels, losses: loss, optimizer } = JSON.parse(stdout.trim().split("\n").at(-1) as string);
  t.diagnostic(stdout.slice(0, 700));
  for (const towers of [plain, kernels]) {
    assert.equal(towers.isFast, true);
    for (const key of ["image", "dropped", "classAlone", "text"]) assert.ok(towers[key] < 1e-5, `${key}: ${towers[key]}`);
    assert.ok(towers.bfloat > 0.9999);
  }
  assert.ok(loss.tiled < 1e-5 && loss.clip < 1e-5);
  // decay^(n + 1 − id), n = 2: embeddings .5³, block 1 .5, what comes after it 1; half of it for what has no decay.
  assert.deepEqual(optimizer, {
    patches: [0.125, 0.05],
    positions: [0.0625, 0],
    lastBlock: [0.5, 0.05],
    head: [0.5, 0],
    words: [0.1, 0.05],
    scale: [1, 0],
    parameters: true,
    kind: "Lamb",
    ownClip: null,
  });
});

test("two ranks, and two ranks with micro-batches, take the steps of one over a hundred steps", { skip }, async (t) => {
  const dir = await temporary(t);
  const one = await losses(join(dir, "one"), { processes: 1, steps: 100 });
  const two = await losses(join(dir, "two"), { processes: 2, steps: 100 });
  const cached = await losses(join(dir, "cached"), { processes: 2, steps: 100, microBatch: 8 });
  t.diagnostic(`loss ${one[0]} to ${one.at(-1)}; two ranks ${farthest(one, two)} apart, with micro-batches ${farthest(one, cached)}`);
  assert.equal(two.length, 100);
  assert.ok(farthest(one, two) <= RANKS_APART, `two ranks are ${farthest(one, two)} apart`);
  assert.ok(farthest(one, cached) <= RANKS_APART, `micro-batches are ${farthest(one, cached)} apart`);
});

test("two machines with a rank each take the steps of one, and the second machine ends with the run", { skip }, async (t) => {
  const dir = await temporary(t);
  const one = await losses(join(dir, "one"), { processes: 1, steps: 20 });
  const [run, stage] = [join(dir, "two"), join(dir, "two", "1-train")];
  const rendezvous = `127.0.0.1:${await freePort()}`;
  const notes: string[] = [];
  const stages = Recipe.parse({ name: "two", start: { model: "kenpin-xs-8" }, stages: [{ stage: "train", steps: 20 }] });
  const second = { recipe: stages, dir: run, nodes: { count: 2, index: 1, rendezvous }, gpus: null, processes: 1 };
  const followed = followRun({ ...second, note: (line) => notes.push(line) });
  const two = await losses(stage, { processes: 1, nodes: { count: 2, index: 0, rendezvous }, steps: 20 });
  await writeFile(join(stage, "done.json"), "{}");
  await followed;
  assert.deepEqual(notes, ["joins train as machine 1 of 2"]);
  assert.equal(two.length, 20);
  assert.ok(farthest(one, two) <= RANKS_APART, `two machines are ${farthest(one, two)} apart`);
});

test("a rank that is killed costs the steps since the last checkpoint, and the end is the same to the bit", { skip }, async (t) => {
  const dir = await temporary(t);
  const whole = await losses(join(dir, "whole"), { processes: 2, steps: 30, checkpointEvery: 10 });
  const seen: number[] = [];
  let killed = false;
  const onStep = (step: number) => {
    seen.push(step);
    if (step < 17 || killed) return;
    killed = true;
    void ranksOf(join(dir, "killed")).then((pids) => process.kill(pids.at(-1) as number, "SIGKILL"));
  };
  const broken = await losses(join(dir, "killed"), { processes: 2, steps: 30, checkpointEvery: 10, onStep });
  const repeated = seen.length - new Set(seen).size;
  t.diagnostic(`${repeated} steps were taken twice`);
  assert.ok(killed && repeated > 0, "the rank was killed while it trained");
  assert.ok(repeated <= 20);
  assert.deepEqual(broken, whole);
});

test("a run that is stopped saves its last step and goes on from there", { skip }, async (t) => {
  const dir = await temporary(t);
  const whole = await losses(join(dir, "whole"), { processes: 1, steps: 24 });
  const stop = new AbortController();
  const engine = createTorchEngine({ gpus: null, processes: 1, precision: "float32", compile: false });
  const run = async (signal?: AbortSignal) => {
    const folder = await openRunFolder(join(dir, "stopped"));
    const setup = smallSetup(24, OPTIMIZER);
    const dropout = { ratio: 0.5, unmaskedTail: 0.3 };
    const all = {
      ...setup,
      folder,
      tokenizer: smallTokenizer,
      words: BASE_WORDS,
      loss: "clip" as const,
      patchLoss: 2,
      microBatch: null,
      shards: null,
      generated: null,
      references: { loss: 0, tokenLayers: [] },
    };
    const batchAt = captionedBatches([surfaceSource(pool, SMALL, 1)], { config: SMALL, size: 16, dropout, seed: 1 });
    const onStep = ({ step }: { step: number }) => step === 9 && signal && stop.abort(new Error("enough"));
    await engine.trainContrastive({ ...all, batchAt, onStep, ...(signal && { signal }) }).finally(() => folder.close());
  };
  await assert.rejects(run(stop.signal), /enough/);
  const checkpoints = await readdir(join(dir, "stopped", "checkpoints"));
  assert.ok(
    checkpoints.some((name) => Number(name.slice(5)) >= 9),
    checkpoints.join(),
  );
  await run();
  assert.deepEqual(await lossesIn(join(dir, "stopped")), whole);
});

test("WebDataset shards are read by the ranks themselves, whatever their number; a lost one is named", { skip }, async (t) => {
  const dir = await temporary(t);
  await mkdir(join(dir, "set"));
  const rows = ["file,caption"];
  for (const [i, { rgb }] of pool.slice(0, 48).entries()) {
    const [side, plane] = [SMALL.image.size, SMALL.image.size ** 2];
    const data = Uint8Array.from({ length: 3 * plane }, (_, at) => rgb[(at % 3) * plane + Math.floor(at / 3)] as number);
    await sharp(data, { raw: { width: side, height: side, channels: 3 } })
      .png()
      .toFile(join(dir, "set", `${i}.png`));
    rows.push(`${i}.png,a part with the number ${i % 30}`);
  }
  await writeFile(join(dir, "set", "captions.csv"), rows.join("\n"));
  const set = await openPictureSet(join(dir, "set", "captions.csv"), {});
  const shards = join(dir, "shards");
  await writeShards(set, shards, { limits: { pictures: 20, bytes: 1e9 } });
  const one = await losses(join(dir, "one"), { processes: 1, steps: 8, shards: [shards] });
  const two = await losses(join(dir, "two"), { processes: 2, steps: 8, shards: [shards] });
  assert.equal(one.length, 8);
  assert.ok(farthest(one, two) <= RANKS_APART, `${farthest(one, two)}`);
  const lost = (await readdir(shards)).filter((name) => name.endsWith(".tar"))[1] as string;
  await rm(join(shards, lost));
  await assert.rejects(losses(join(dir, "lost"), { processes: 1, steps: 8, shards: [shards] }), (error: Error) =>
    error.message.includes(lost),
  );
});

test("a recipe for the engine torch runs stage by stage in a run folder like any other, and goes on where it stood", {
  skip,
}, async (t) => {
  const dir = await temporary(t);
  const optimizer = { warmup: 1, plainShare: 0.1, rates: { image: 0.003, text: 0.0003, other: 0.003 } };
  const stage = { steps: 2, batch: 8, data: { generated: { surfaces: 64 } }, optimizer };
  const recipe = Recipe.parse({
    name: "three stages",
    engine: "torch",
    torch: { precision: "float32" },
    start: { model: "kenpin-xs-8" },
    stages: [
      { stage: "pretrain", ...stage },
      { stage: "train", ...stage, microBatch: 4 },
      { stage: "distill", ...stage, student: { model: "kenpin-xs-8" }, views: 1 },
    ],
  });
  const told = new Set<string>();
  const run = () => runRecipe({ recipe, dir, note: () => undefined, tell: ({ stage: name, loss }) => loss !== null && told.add(name) });
  const { stages } = await run();
  assert.deepEqual(
    stages.map(({ done }) => [done.stage, done.steps]),
    [
      ["pretrain", 2],
      ["train", 2],
      ["distill", 2],
    ],
  );
  assert.deepEqual([...told], ["pretrain", "train", "distill"]);
  for (const { done } of stages) assert.match(done.backend, /^torch .* on cpu/);
  assert.ok(!(await readdir(join(dir, "3-distill"))).some((name) => name.includes("start")), "no weights are left lying about");
  told.clear();
  await run();
  assert.equal(told.size, 0, "finished stages are not trained again");
});

test("surfaces are drawn where it trains, with references that the memory bank learns from", { skip }, async (t) => {
  const dir = await temporary(t);
  const optimizer = { warmup: 1, plainShare: 0.1, rates: { image: 0.01, text: 0.001, other: 0.01 } };
  const generated = { surfaces: 64, on: "device", without: ["beads"] };
  const stage = { stage: "train", steps: 6, batch: 24, data: { generated }, referenceLoss: 1, optimizer };
  const torch = { precision: "float32" };
  const recipe = Recipe.parse({ name: "on the device", engine: "torch", torch, start: { model: "kenpin-xs-8" }, stages: [stage] });
  await runRecipe({ recipe, dir, note: () => undefined, tell: () => undefined });
  const lines = (await readFile(join(dir, "1-train", "metrics.jsonl"), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const parts = lines.flatMap((line) => (line.parts?.references === undefined ? [] : [line.parts.references as number]));
  assert.equal(parts.length, 6);
  assert.ok(parts.every(Number.isFinite), parts.join());
  const unknown = {
    ...recipe,
    stages: [{ ...recipe.stages[0], data: { sets: [], generated: { ...generated, seed: 1, without: ["marble"] } } }],
  };
  const other = runRecipe({ recipe: Recipe.parse(unknown), dir: join(dir, "other"), note: () => undefined, tell: () => undefined });
  await assert.rejects(other, /no such family of surfaces: marble/);
});

test("a missing Python, a PyTorch without CUDA and too few GPUs are said with what to do", async () => {
  await assert.rejects(lookAtPython("/nowhere/python"), /\/nowhere\/python, which is not there; run: kenpin engine install torch/);
  const found = { python: "3.12", torch: "2.11", cuda: null, gpus: 0, why: null, missing: [] };
  assert.throws(() => needGpus(1, found), /built for the processor only/);
  assert.throws(() => needGpus(1, { ...found, cuda: "13.0", why: "the driver is too old" }), /the driver is too old.*nvidia-smi/);
  assert.throws(() => needGpus(4, { ...found, cuda: "13.0", gpus: 2 }), /4 GPUs are asked for, 2 are there/);
  needGpus(2, { ...found, cuda: "13.0", gpus: 2 });
});

test("a SkyPilot task trains the recipe on the GPUs it rents, and refuses what it cannot send along", () => {
  const options = {
    target: "skypilot",
    out: "task.yaml",
    gpus: "H100:4",
    nodes: 1,
    bucket: "kenpin-runs",
    diskGb: 256,
    spot: true,
  } as const;
  const task = skyTask("Line 3 (base)", "recipes/line.yaml", options);
  assert.equal(task.name, "kenpin-line-3-base");
  assert.match(task.run, /kenpin train 'recipes\/line.yaml' --engine torch --gpus 4 --out \/runs\/line-3-base --yes/);
  const many = skyTask("base", "recipes/line.yaml", { ...options, nodes: 3 });
  assert.equal(many.num_nodes, 3);
  assert.match(
    many.run,
    /--gpus 4 --nodes 3 --node "\$SKYPILOT_NODE_RANK" --rendezvous "\$\(echo "\$SKYPILOT_NODE_IPS" \| head -n1\):29400"/,
  );
  assert.throws(() => skyTask("x", "../elsewhere.yaml", options), /lies outside/);
  assert.throws(() => skyTask("x", "a'b.yaml", options), /strange name/);
});

test("SkyPilot's own package takes the task, for one machine and for several", {
  skip: sky ? false : "KENPIN_SKYPILOT names no interpreter with skypilot",
}, async (t) => {
  const dir = await temporary(t);
  const script = join(import.meta.dirname, "../../fixtures/train/check_sky_task.py");
  for (const nodes of [1, 4]) {
    const file = join(dir, `${nodes}.yaml`);
    const task = skyTask("base", "recipes/line.yaml", { target: "skypilot", out: file, gpus: "H100:8", nodes, bucket: "kenpin-runs", diskGb: 256, spot: true }); // biome-ignore format: one line
    await writeFile(file, JSON.stringify(task)); // JSON is YAML too
    const { stdout } = await promisify(execFile)(sky as string, [script, file], { env: { ...process.env, HOME: dir } });
    assert.equal(stdout.trim().split("\n").at(-1), `kenpin-base ${nodes} H100:8`);
  }
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Training processes of that run folder, without torchrun itself. */
async function ranksOf(dir: string): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (line.includes(join(dir, "job.json")) && !line.includes("torch.distributed.run")) found.push(Number(pid));
  }
  return found.sort((a, b) => a - b);
}
