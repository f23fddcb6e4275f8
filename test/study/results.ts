/**
 * What a study has found: study.json. In: lines of runs.jsonl, of either engine. Out: the same, checked, with what the arms cost; and, by
 * the same rules for every arm, the rate that counts and the figures that are compared.
 */
import { parseAtDoor } from "@kenpin/schema";
import { z } from "zod";
import { type Arm, armsOf, FACTORS, type Factor } from "./arms.ts";
import { PresetName, presetOf } from "./presets.ts";
import { gflopsOf } from "./recipe.ts";

const Auroc = z.number().min(0).max(1);
const Told = z.strictObject({ image: Auroc, frame: Auroc, patches: Auroc, contrast: z.number().optional() });
const Judged = z.strictObject({ choose: Told, seen: Told, unseen: Told.nullable() });
const Point = z.strictObject({ samples: z.int(), loss: z.number(), ...Told.shape });
const Rate = z.number().min(0);

export const Run = z.strictObject({
  do: z.enum(["train", "untrained"]),
  arm: z.string(),
  seed: z.int(),
  rate: Rate,
  began: z.number(),
  wall: z.number(),
  steps: z.int().optional(),
  samples: z.int().optional(),
  seconds: z.number().optional(),
  skipped: z.int().optional(),
  imagesPerSecond: z.number().optional(),
  curve: z.array(Point).optional(),
  judged: Judged.optional(),
  failed: z.string().optional(),
});
export type Run = z.infer<typeof Run>;

const Machine = z.strictObject({ device: z.string(), torch: z.string().optional(), backend: z.string().optional(), precision: z.string() });
const Head = z.strictObject({ preset: PresetName, machine: Machine, processes: z.int(), began: z.number() });
const Speed = z.strictObject({ batch: z.int(), imagesPerSecond: z.record(z.string(), z.number()) });
const SpeedLine = z.strictObject({ do: z.literal("speed"), ...Speed.shape, began: z.number(), wall: z.number() });
export const RealSet = z.strictObject({
  arm: z.string(),
  seed: z.int(),
  set: z.string(),
  pictures: z.int(),
  auroc: z.record(z.string(), Auroc),
});
export type RealSet = z.infer<typeof RealSet>;

export const Study = z.strictObject({
  formatVersion: z.literal(1),
  ...Head.omit({ began: true }).shape,
  /** Seconds from the first process to the last run's end, all calls together. */
  seconds: z.number(),
  speed: Speed.nullable(),
  runs: z.array(Run),
  real: z.array(RealSet),
});
export type Study = z.infer<typeof Study>;

/** Of every run the line that came last: a broken-off study may hold one twice. */
export function studyOf(lines: readonly unknown[], real: readonly RealSet[]): Study {
  const heads: z.infer<typeof Head>[] = [];
  const runs = new Map<string, Run>();
  let speed: z.infer<typeof Speed> | null = null;
  for (const [i, line] of lines.entries()) {
    const { do: kind } = z.looseObject({ do: z.string().optional() }).parse(line);
    if (kind === undefined) heads.push(parseAtDoor(Head, line, `line ${i + 1}`));
    else if (kind === "speed") {
      const { batch, imagesPerSecond } = parseAtDoor(SpeedLine, line, `line ${i + 1}`);
      speed = { batch, imagesPerSecond };
    } else if (kind !== "fill") {
      const run = parseAtDoor(Run, line, `line ${i + 1}`);
      runs.set(`${run.arm} ${run.seed} ${run.rate}`, run);
    }
  }
  const [head] = heads;
  if (!head) throw new RangeError("the first line of runs.jsonl says on which machine and with which preset; it is missing");
  const ended = Math.max(head.began, ...[...runs.values()].map(({ began, wall }) => began + wall));
  const { preset, machine, processes, began } = head;
  return {
    formatVersion: 1,
    preset,
    machine,
    processes,
    seconds: Math.round(ended - began),
    speed,
    runs: [...runs.values()].map((run) => ({ ...run, began: Math.round((run.began - began) * 10) / 10 })),
    real: [...real],
  };
}

// --- by the same rules for every arm

export type Arms = ReadonlyMap<string, Arm>;

export function armsIn({ preset }: Study): {
  arms: Arms;
  factors: Factor[];
  seeds: number[];
  judgedBy: "unseen" | "seen";
  engine: "tfjs" | "torch";
} {
  const { scale, seeds, unseen, engine } = presetOf(preset);
  const arms = new Map(armsOf(scale).map((arm) => [arm.id, arm]));
  const factors = FACTORS.filter(({ reference }) => arms.has(reference)).map((factor) => ({
    ...factor,
    arms: factor.arms.filter(({ id }) => arms.has(id)),
  }));
  return {
    arms,
    factors: factors.filter(({ arms: own }) => own.length > 0),
    seeds,
    judgedBy: unseen.length > 0 ? "unseen" : "seen",
    engine,
  };
}

/** The mean of both AUROCs; what rates are chosen by, on pictures that nothing else is measured on. */
export function score({ image, patches }: { image: number; patches: number }): number {
  return (image + patches) / 2;
}

/** An arm's runs with the first seed, at every rate. */
export function sweepOf({ runs }: Study, arms: Arms, id: string): Run[] {
  const { ratesOf, seeds } = arms.get(id) as Arm;
  if (ratesOf !== null) return [];
  const first = seeds?.[0] ?? Math.min(...runs.map(({ seed }) => seed));
  return runs.filter(({ arm, seed }) => arm === id && seed === first).sort((a, b) => a.rate - b.rate);
}

export function bestRate(study: Study, arms: Arms, id: string): number | null {
  const { ratesOf } = arms.get(id) as Arm;
  if (ratesOf !== null) return bestRate(study, arms, ratesOf);
  const whole = sweepOf(study, arms, id).filter(({ failed, judged }) => !failed && judged);
  const best = whole.sort((a, b) => score(b.judged?.choose as Told) - score(a.judged?.choose as Told))[0];
  return best?.rate ?? null;
}
type Told = z.infer<typeof Told>;

/** Each seed's run at the arm's best rate, by seed. */
export function runsOf(study: Study, arms: Arms, id: string): Map<number, Run> {
  const rate = bestRate(study, arms, id);
  const own = study.runs.filter((run) => run.arm === id && run.rate === rate && !run.failed && run.judged);
  return new Map(own.sort((a, b) => a.seed - b.seed).map((run) => [run.seed, run]));
}

/** Forward GFLOPs of a run of this arm: its own, with what it started from, and with the teacher's training too. */
export function computeOf(arms: Arms, id: string, preset: PresetName): { own: number; withPretraining: number; withTeacher: number } {
  const { scale, student } = presetOf(preset);
  const models = { base: scale.config, student };
  const costOf = (name: string) => {
    const arm = arms.get(name) as Arm;
    const { trained, teacher } = gflopsOf(arm, models);
    return { trained: trained * arm.samples, looks: teacher * arm.samples };
  };
  const { from, teacher } = arms.get(id) as Arm;
  const { trained: own, looks } = costOf(id);
  const start = from !== null && from !== "teacher" ? costOf(from) : null;
  const taught = [teacher, from, from === null ? null : (arms.get(from) as Arm).teacher].includes("teacher");
  const withPretraining = own + looks + (start ? start.trained + start.looks : 0);
  return { own, withPretraining, withTeacher: withPretraining + (taught ? costOf("teacher").trained : 0) };
}
