/**
 * `kenpin train`: a recipe, from plan to model. The training runs in a process of its own that is started again when its
 * memory has grown or it was killed; started once more by hand, the command goes on where the run stopped.
 */
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { KenpinError, parseAtDoor, Recipe, RunProgress } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import { readJsonFile } from "../json-file.ts";
import { type Plan, planOf } from "../recipe/plan.ts";
import { readRecipe } from "../recipe/recipe-file.ts";
import type { Nodes } from "../train/engines/torch/process.ts";
import { startTrainer, type TrainerCommand } from "../trainer-process.ts";
import { createTrainingScreen, duration } from "./training-screen.ts";

const Options = z.strictObject({
  out: z.string().min(1).optional(),
  plan: z.boolean().default(false),
  yes: z.boolean().default(false),
  json: z.boolean().default(false),
  engine: z.enum(["tfjs", "torch"]).optional(),
  gpus: z.coerce.number().pipe(z.int().min(1).max(1024)).optional(),
  nodes: z.coerce.number().pipe(z.int().min(1).max(4096)).optional(),
  node: z.coerce.number().pipe(z.int().min(0).max(4095)).optional(),
  rendezvous: z
    .string()
    .regex(/^[A-Za-z0-9.:_-]{1,255}:[0-9]{2,5}$/, "host:port of the first machine")
    .optional(),
});
type Options = z.infer<typeof Options>;
const ProcessOptions = Options.pick({ gpus: true, nodes: true, node: true, rendezvous: true }).extend({
  run: z.string().min(1).optional(),
  measure: z.boolean().default(false),
});
/** What the training process prints, a line each. */
const Line = z.union([RunProgress, z.strictObject({ note: z.string() })]);

/** Longer than this is asked for before it is begun. */
const LONG_SECONDS = 600;

export function trainCommand(): Command {
  return new Command("train")
    .description("train a model as a recipe says: pretrain, train, tune, distill; goes on where it was stopped")
    .argument("<recipe>", "YAML file; ready ones lie in cloud-trainer/recipes")
    .option("--out <dir>", "run folder: metrics, checkpoints, model/")
    .option("--engine <name>", "tfjs or torch, whatever the recipe says")
    .option("--gpus <n>", "engine torch: so many GPUs of this machine")
    .option("--nodes <n>", "engine torch: so many machines; start this on each of them, --out at one path that all of them see")
    .option("--node <n>", "which of them this is, from 0")
    .option("--rendezvous <host:port>", "where machine 0 waits for the others")
    .option("--plan", "say what it will take, and stop")
    .option("--yes", `do not ask before a run of more than ${LONG_SECONDS / 60} minutes`)
    .option("--json", "print the plan, progress and result as JSON, a line each")
    .action(async (file: string, given: unknown) => {
      const options = parseAtDoor(Options, given, "kenpin train");
      const { out, plan: planOnly, yes, json, engine, gpus } = options;
      const nodes = nodesOf(options);
      const read = await readRecipe(file);
      const recipe = { ...read, engine: engine ?? read.engine };
      if (gpus !== undefined && recipe.engine !== "torch")
        throw new KenpinError("invalid-input", "--gpus is for the engine torch; say --engine torch, or engine: torch in the recipe");
      if (nodes && recipe.engine !== "torch") throw new KenpinError("invalid-input", "--nodes is for the engine torch");
      if (out === undefined && !planOnly) throw new KenpinError("invalid-input", "kenpin train: say where the run is kept: --out <dir>");
      if (nodes && nodes.index > 0 && out !== undefined) return follow(recipe, resolve(out), { json, gpus, nodes });
      const plan = await makePlan(recipe);
      if (json) print({ plan });
      else say(describe(plan, recipe));
      if (out === undefined || planOnly) return;
      if (!yes) await agree(plan);
      await train(recipe, resolve(out), { json, gpus, nodes });
    });
}

/** The process that trains; `kenpin train` and nobody else starts it. */
export function trainProcessCommand(): Command {
  return new Command("train-process")
    .description("(started by kenpin train) trains what a run folder's recipe.json says")
    .option("--run <dir>", "run folder")
    .option("--gpus <n>", "GPUs, for the engine torch")
    .option("--nodes <n>", "machines")
    .option("--node <n>", "which of them this is")
    .option("--rendezvous <host:port>", "where the first waits")
    .option("--measure", "print this machine's rate of float32 products, and stop")
    .action(async (given: unknown) => {
      const options = parseAtDoor(ProcessOptions, given, "kenpin train-process");
      const { run, gpus, measure } = options;
      const nodes = nodesOf(options);
      if (measure) {
        const { measureProducts } = await import("../train/engines/tfjs/measure.ts");
        return print({ gflopsPerSecond: await measureProducts() });
      }
      if (run === undefined) throw new KenpinError("invalid-input", "kenpin train-process: say which run: --run <dir>");
      const { runRecipe } = await import("../recipe/run.ts");
      const recipe = await readJsonFile(Recipe, join(run, "recipe.json"));
      const stop = new AbortController();
      process.once("SIGTERM", () => stop.abort(new KenpinError("stopped", "the run was stopped; start it again to go on")));
      await runRecipe({
        recipe,
        dir: run,
        tell: print,
        note: (note) => print({ note }),
        signal: stop.signal,
        ...(gpus && { gpus }),
        ...(nodes && { nodes }),
      });
    });
}

async function makePlan(recipe: Recipe): Promise<Plan> {
  let rate = 0;
  const measured = startTrainer(ownCommand(), ["train-process", "--measure"], (line) => {
    rate = z.object({ gflopsPerSecond: z.number() }).parse(JSON.parse(line)).gflopsPerSecond;
  });
  await measured.done;
  return planOf(recipe, rate);
}

function describe({ stages, seconds, memoryMb }: Plan, { engine }: Recipe): string {
  const rows = stages.map(
    (stage) =>
      `  ${stage.stage.padEnd(9)} ${String(stage.steps).padStart(8)} steps  ${String(stage.samples).padStart(10)} pictures  ` +
      `${stage.gflops.toExponential(2)} GFLOPs  ${duration(stage.seconds).padStart(7)}  ${stage.memoryMb} MB`,
  );
  const on = engine === "torch" ? ", on this machine's processor; what a GPU will do is not known here" : "";
  return [`the run will take, as far as can be foreseen${on}:`, ...rows, `  in all ${duration(seconds)}, at most ${memoryMb} MB`].join(
    "\n",
  );
}

async function agree({ seconds }: Plan): Promise<void> {
  if (seconds <= LONG_SECONDS) return;
  if (!process.stdin.isTTY) {
    throw new KenpinError("not-agreed", `the run is foreseen to take ${duration(seconds)}; say --yes to start it without being asked`);
  }
  const ask = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await ask.question(`Start a run of about ${duration(seconds)}? [y/N] `).finally(() => ask.close());
  if (!/^y(es)?$/i.test(answer.trim())) throw new KenpinError("not-agreed", "the run was not started");
}

type Running = { json: boolean; gpus: number | undefined; nodes: Nodes | undefined };

async function train(recipe: Recipe, dir: string, { json, gpus, nodes }: Running): Promise<void> {
  const { claimRun } = await import("../recipe/run-claim.ts");
  await claimRun(dir, recipe);
  const release = await lock(dir);
  const show = json ? print : createTrainingScreen();
  const child = startTrainer(
    ownCommand(),
    ["train-process", "--run", dir, ...(gpus ? ["--gpus", String(gpus)] : []), ...(nodes ? nodeArguments(nodes) : [])],
    (text) => {
      const line = Line.safeParse(parseJson(text));
      if (line.success) show(line.data);
    },
    { folder: dir, onRestart: (note) => show({ note: `${note}; it goes on from its last checkpoint` }) },
  );
  const stop = () => void child.stop();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    await child.done;
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    await release();
  }
  const model = join(dir, "model");
  if (json) print({ model, card: JSON.parse(await readFile(join(model, "card.json"), "utf8")) });
  else say(`\nthe model is in ${model}; kenpin score --model ${model} chooses its scoring rule`);
}

/** A machine that is not the first: no plan, no question, no lock, for all of that is the first one's. */
async function follow(recipe: Recipe, dir: string, { json, gpus, nodes }: Running & { nodes: Nodes }): Promise<void> {
  const { followRun } = await import("../train/engines/torch/follow.ts");
  const stop = new AbortController();
  const end = () => stop.abort(new KenpinError("stopped", "this machine was stopped; start it again to join the run once more"));
  process.once("SIGINT", end).once("SIGTERM", end);
  const note = (text: string) => (json ? print({ note: text }) : say(text));
  await followRun({ recipe, dir, nodes, gpus: gpus ?? null, note, signal: stop.signal });
}

function nodesOf({ nodes, node, rendezvous }: Pick<Options, "nodes" | "node" | "rendezvous">): Nodes | undefined {
  if (nodes === undefined || nodes === 1) return undefined;
  if (node === undefined || node >= nodes || rendezvous === undefined) {
    throw new KenpinError("invalid-input", `with --nodes ${nodes} say which this is (--node 0 to ${nodes - 1}) and --rendezvous host:port`);
  }
  return { count: nodes, index: node, rendezvous };
}

function nodeArguments({ count, index, rendezvous }: Nodes): string[] {
  return ["--nodes", String(count), "--node", String(index), "--rendezvous", rendezvous];
}

/** Two processes in one run folder would mix two runs. A lock whose process is gone is taken over. */
async function lock(dir: string): Promise<() => Promise<void>> {
  await mkdir(dir, { recursive: true });
  const file = join(dir, "lock");
  for (let tries = 0; tries < 2; tries++) {
    try {
      const handle = await open(file, "wx");
      await handle.writeFile(String(process.pid)).finally(() => handle.close());
      return () => rm(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const pid = Number.parseInt(await readFile(file, "utf8").catch(() => ""), 10);
      if (isAlive(pid)) throw new KenpinError("run-under-way", `${dir} is being trained by process ${pid}; wait for it, or stop it first`);
      await rm(file, { force: true });
    }
  }
  throw new KenpinError("run-under-way", `${dir} is being taken by another process; try again`);
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function ownCommand(): TrainerCommand {
  return [process.execPath, ...process.execArgv, process.argv[1] as string];
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
