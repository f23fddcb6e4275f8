/**
 * Measures a quantized tower beside the float one: time, error place by place, text embeddings.
 */
import { type ModelRunner, startModel, type Tensors } from "@kenpin/inspector";
import type { QuantPlan } from "@kenpin/onnx";
import { type TowerJob, withTower } from "./choose-plan.ts";
import type { LayerError } from "./report.ts";

const ROUNDS = 5;
const RUNS_A_ROUND = 4;

/** Median time of one run of each model, in turns, so that what else the machine does meets all alike. */
export async function latencies(files: readonly string[], input: Tensors): Promise<number[]> {
  const models = files.map((model) => startModel({ model }));
  try {
    const times = models.map(() => [] as number[]);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, model] of models.entries()) {
        // The first of a turn finds cold caches and sleeping threads.
        for (let run = 0; run <= RUNS_A_ROUND; run++) {
          const { ms } = await model.run(input);
          if (run > 0) (times[i] as number[]).push(ms);
        }
      }
    }
    return times.map((list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)] as number);
  } finally {
    for (const model of models) await model.close();
  }
}

type LayerOptions = { workDir: string; plan: QuantPlan; localErrors: ReadonlyMap<string, number> | null; inputs: readonly Tensors[] };

/** ‖x̂ − x‖ / ‖x‖ of what each place reads: all that was lost up to there. */
export async function layerErrors(job: TowerJob, { workDir, plan, localErrors, inputs }: LayerOptions): Promise<LayerError[]> {
  const taps = { everyToken: job.everyToken };
  const rowsOf = (model: ModelRunner) => Promise.all(inputs.map(async (input) => (await model.run(input)).tensors));
  const before = await withTower(job, workDir, job.draw({ taps }), rowsOf);
  const after = await withTower(job, workDir, job.draw({ plan, taps }), rowsOf);
  return job.places.map(({ name }) => {
    let [error, power] = [0, 0];
    for (const [i, tensors] of before.entries()) {
      const [a, b] = [tensors[`some:${name}`] as Float32Array, after[i]?.[`some:${name}`] as Float32Array];
      for (const [j, value] of a.entries()) {
        error += (value - (b[j] as number)) ** 2;
        power += value * value;
      }
    }
    return {
      name,
      error: Math.sqrt(error / Math.max(power, 1e-12)),
      rounding: Math.sqrt(localErrors?.get(name) ?? 0),
      inFloat: !plan.places.has(name),
    };
  });
}

export async function textAnswers(model: ModelRunner, inputs: readonly Tensors[]): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  for (const input of inputs) rows.push(((await model.run(input)).tensors["text_embeds"] as Float32Array).slice());
  return rows;
}

/** Rows of length 1: the cosine is their product. */
export function textCosine(before: readonly Float32Array[], after: readonly Float32Array[]): { mean: number; least: number } {
  const cosines = before.map((row, i) => row.reduce((sum, value, j) => sum + value * (after[i]?.[j] as number), 0));
  return { mean: cosines.reduce((sum, value) => sum + value, 0) / cosines.length, least: Math.min(...cosines) };
}
