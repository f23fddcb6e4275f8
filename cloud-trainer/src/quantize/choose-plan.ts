/**
 * Chooses how a tower is rounded by what comes out: smoothing first, then the calibrator, then how many ranges are measured
 * as the graph runs, each by fidelity on pictures that the ranges were not taken from; then, if that stays below the target,
 * which places stay in float.
 *
 * The search states its budget: at most `evaluations` graphs are written and run. It tries the places with the largest
 * local error one at a time, then keeps the best of them in float, most fidelity for its bytes first, until the target is
 * met or the file would grow past `sizeRatio` of the float one.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { type ModelRunner, startModel, type Tensors } from "@kenpin/inspector";
import type { Model, PlaceName, QuantPlan, Scheme, WeightForm } from "@kenpin/onnx";
import { CALIBRATORS, type Calibrator } from "./calibrators.ts";
import { localError, makePlan, type PlanChoice } from "./make-plan.ts";
import { observe, type Seen } from "./observe.ts";
import type { Source, Tower } from "./source.ts";

export type TowerJob = {
  tower: Tower;
  source: Source;
  places: readonly PlaceName[];
  draw: (options: { plan?: QuantPlan; taps?: { everyToken: number } }) => Model;
  /** Ranges come from these. */
  inputs: readonly Tensors[];
  /** Fidelity to the float model on other inputs, 1 at best. */
  judge: (model: ModelRunner) => Promise<number>;
  /** One of so many tokens is looked at whole. */
  everyToken: number;
};
export type SearchBudget = { evaluations: number; target: number; sizeRatio: number };
export type Tried = PlanChoice & { inFloat: string[]; fidelity: number };
export type ChosenPlan = {
  plan: QuantPlan;
  choice: PlanChoice;
  inFloat: string[];
  fidelity: number;
  tried: Tried[];
  localErrors: Map<string, number>;
};
type Quantized = Exclude<Scheme, "fp16">;
type Request = { scheme: Quantized; weights: WeightForm; budget: SearchBudget; workDir: string; onTried: (tried: Tried) => void };

const ALPHAS = [0, 0.5, 0.75];
const FIRST: Calibrator = "min-max";
/** Which smoothing is best depends on whether large values are kept or cut: both are tried with each. */
const WIDE_AND_NARROW: readonly Calibrator[] = [FIRST, "wide", "mse"];
/** A range for one input is narrower than one for all; measuring it costs little time and not a byte. */
const SOME_DYNAMIC = 0.25;
const MORE_DYNAMIC = 0.5;
/** Share of the float file. */
const CHEAP = 0.005;
const SHARED_LIMIT_BYTES = 32 * 1024 * 1024;

export async function choosePlan(job: TowerJob, request: Request): Promise<ChosenPlan> {
  const seen = await observeTower(job, request.workDir);
  const tried: Tried[] = [];
  const always = cheapLastPlace(job, request);
  const make = (choice: PlanChoice, inFloat: readonly string[]) =>
    makePlan({
      ...choice,
      scheme: request.scheme,
      weights: request.weights,
      places: job.places,
      seen,
      inFloat: new Set([...always, ...inFloat]),
    });
  const attempt = async (choice: PlanChoice, inFloat: string[] = []) => {
    const fidelity = await withTower(job, request.workDir, job.draw({ plan: make(choice, inFloat) }), job.judge);
    const one = { ...choice, inFloat, fidelity };
    tried.push(one);
    request.onTried(one);
    return one;
  };
  await tryChoices(request.scheme, tried, attempt);
  const { calibrator, alpha, dynamicShare } = bestOf(tried);
  const choice = { calibrator, alpha, dynamicShare };
  const whole = make(choice, []);
  const localErrors = new Map([...whole.places].map(([name, plan]) => [name, localError(seen.get(name) as Seen, plan, request.scheme)]));
  if (bestOf(tried).fidelity < request.budget.target) {
    const bytes = (inFloat: string[]) => job.draw({ plan: make(choice, inFloat) }).weightBytes / job.draw({}).weightBytes;
    await searchFloat({
      localErrors,
      budget: request.budget,
      start: bestOf(tried).fidelity,
      bytes,
      attempt: (inFloat) => attempt(choice, inFloat),
    });
  }
  const best = bestOf(
    tried.filter(
      (one) =>
        one.inFloat.length === 0 ||
        job.draw({ plan: make(choice, one.inFloat) }).weightBytes / job.draw({}).weightBytes <= request.budget.sizeRatio,
    ),
  );
  return {
    plan: make(best, best.inFloat),
    choice: { calibrator: best.calibrator, alpha: best.alpha, dynamicShare: best.dynamicShare },
    inFloat: [...always, ...best.inFloat],
    fidelity: best.fidelity,
    tried,
    localErrors,
  };
}

/** Graphs that are written and run, before any search for places to keep in float. */
export function choicesOf(scheme: Quantized): number {
  if (scheme === "int8-dynamic") return ALPHAS.length;
  const calibrators = ALPHAS.length * WIDE_AND_NARROW.length + CALIBRATORS.length - WIDE_AND_NARROW.length;
  return scheme === "int8-static" ? calibrators + ALPHAS.length + 1 : calibrators;
}

/** Each step goes on from the best so far. */
async function tryChoices(scheme: Quantized, tried: readonly Tried[], attempt: (choice: PlanChoice) => Promise<Tried>): Promise<void> {
  const choiceOf = ({ calibrator, alpha, dynamicShare }: Tried) => ({ calibrator, alpha, dynamicShare });
  // Dynamic ranges are measured as the graph runs: there is nothing for a calibrator to choose.
  const calibrators = scheme === "int8-dynamic" ? [FIRST] : WIDE_AND_NARROW;
  for (const alpha of ALPHAS) for (const calibrator of calibrators) await attempt({ calibrator, alpha, dynamicShare: 0 });
  if (scheme === "int8-dynamic") return;
  // The best smoothing of fixed ranges alone need not be the best with some that are measured.
  if (scheme === "int8-static")
    for (const alpha of ALPHAS)
      await attempt({
        ...choiceOf(bestOf(tried.filter((one) => one.alpha === alpha))),
        // With smoothing all channels are equally large, and the ranges that stay fixed need room.
        ...(alpha > 0 && { calibrator: "wide" as const }),
        dynamicShare: SOME_DYNAMIC,
      });
  const best = choiceOf(bestOf(tried));
  for (const calibrator of CALIBRATORS) if (!WIDE_AND_NARROW.includes(calibrator)) await attempt({ ...best, calibrator });
  if (scheme === "int8-static") await attempt({ ...choiceOf(bestOf(tried)), dynamicShare: MORE_DYNAMIC });
}

/** What the last product loses, nothing behind it can even out; in a large model it is next to nothing of the file. */
function cheapLastPlace({ places, draw }: TowerJob, { scheme, weights }: Request): string[] {
  const last = (places.at(-1) as PlaceName).name;
  const plan = (names: readonly string[]): QuantPlan => ({
    scheme,
    weights,
    places: new Map(names.map((name) => [name, { smooth: null, scale: 1, zero: 0 }])),
    embeddings: true,
  });
  const saved = draw({ plan: plan([]) }).weightBytes - draw({ plan: plan([last]) }).weightBytes;
  return saved / draw({}).weightBytes < CHEAP ? [last] : [];
}

/** Writes a graph, opens it, works with it, and leaves nothing behind. */
export async function withTower<T>(
  job: Pick<TowerJob, "tower" | "source">,
  workDir: string,
  graph: Model,
  work: (model: ModelRunner) => Promise<T>,
): Promise<T> {
  const dir = await mkdtemp(join(workDir, `${job.tower}-`));
  try {
    const bytes = await job.source.write(job.tower, graph, dir);
    const file = join(dir, `${job.tower}.onnx`);
    // A runtime keeps some of a model's memory when it closes one: large ones get a process each, which gives all back.
    const model = bytes < SHARED_LIMIT_BYTES ? job.source.worker().open(file) : startModel({ model: file });
    try {
      return await work(model);
    } finally {
      await model.close();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function observeTower(job: TowerJob, workDir: string): Promise<Map<string, Seen>> {
  const names = job.places.map(({ name }) => name);
  const each = async function* () {
    yield* job.inputs;
  };
  return withTower(job, workDir, job.draw({ taps: { everyToken: job.everyToken } }), (model) => observe(model, names, each()));
}

type SearchOptions = {
  localErrors: ReadonlyMap<string, number>;
  budget: SearchBudget;
  start: number;
  bytes: (inFloat: string[]) => number;
  attempt: (inFloat: string[]) => Promise<Tried>;
};

async function searchFloat({ localErrors, budget, start, bytes, attempt }: SearchOptions): Promise<void> {
  // Half of the budget to look, half to build the set.
  const worst = [...localErrors].sort((a, b) => b[1] - a[1]).slice(0, Math.floor(budget.evaluations / 2));
  const base = bytes([]);
  const gains: { name: string; perByte: number }[] = [];
  for (const [name] of worst) {
    const { fidelity } = await attempt([name]);
    gains.push({ name, perByte: (fidelity - start) / Math.max(bytes([name]) - base, 1e-6) });
  }
  let kept: string[] = [];
  let left = budget.evaluations - worst.length;
  for (const { name } of gains.sort((a, b) => b.perByte - a.perByte).filter(({ perByte }) => perByte > 0)) {
    if (left-- <= 0) return;
    if (bytes([...kept, name]) > budget.sizeRatio) continue;
    kept = [...kept, name];
    if ((await attempt(kept)).fidelity >= budget.target) return;
  }
}

function bestOf(tried: readonly Tried[]): Tried {
  return tried.reduce((a, b) => (b.fidelity > a.fidelity ? b : a));
}
