/**
 * Which claims hold here. In: a study. Out: for each claim an answer and the figures behind it, both by rules from the intervals, so that
 * words and numbers cannot disagree. A claim holds when the whole interval says so, does not hold when the whole interval says
 * otherwise, and cannot be told in between.
 */
import { mean } from "@kenpin/stats";
import type { Arm } from "./arms.ts";
import { type Answer, atLeast, difference, type Estimate } from "./intervals.ts";
import { type Arms, armsIn, computeOf, runsOf, type Study, score } from "./results.ts";

export type Claim = { claim: string; answer: Answer | "was not tried"; because: string };

/** A loss of AUROC that nobody would mind. */
export const MARGIN = 0.01;
/** Two arms that are no better than weights drawn at random, by this much, are equal and say nothing. */
const LEARNED = 0.05;
const UNLEARNED = "neither run became better than weights drawn at random";
/** What the paper's claims ask for. */
const [HALF, CHARGED, SPEED_UP] = [0.5, 0.75, 1.6];
const STARTS = [
  { id: "hog", name: "masked image modelling to HOG" },
  { id: "clip", name: "masked image modelling to CLIP features" },
];
const BUDGETS = ["-quarter", "-half", ""];

export function claimsOf(study: Study): Claim[] {
  const { arms } = armsIn(study);
  const plain = (claim: string, id: string, reference: string): Claim[] => {
    const found = differenceOf(study, arms, id, reference);
    if (found === null) return [];
    if (!hasLearned(study, arms, id) && !hasLearned(study, arms, reference))
      return [{ claim, answer: "cannot be told", because: UNLEARNED }];
    return [{ claim, answer: atLeast(found, MARGIN), because: said(found) }];
  };
  return [
    ...STARTS.filter(({ id }) => arms.has(id)).flatMap(({ id, name }) => startClaims(study, arms, id, name)),
    ...plain("LAMB is at least as good as AdamW at the large batch", "lamb-large", "adamw-large"),
    ...plain("LAMB is at least as good as AdamW at the small batch", "scratch", "adamw-small"),
    ...speedClaims(study, arms),
    ...plain("Half of the patches dropped cost nothing at equal compute", "dropout", "scratch"),
    ...plain("… with none dropped in the last fifth of the steps", "dropout-tail", "scratch"),
    ...plain("One trust ratio a parameter group is as good as one a tensor", "group", "scratch"),
    ...plain("A teacher is at least as good as captions alone", "distill-all", "student-alone"),
    ...plain("Distillation can do without features", "distill-no-features", "distill-all"),
    ...plain("Distillation can do without contrasts between pictures", "distill-no-contrast", "distill-all"),
    ...plain("Distillation can do with logits alone", "distill-logits", "distill-all"),
  ];
}

export function differenceOf(study: Study, arms: Arms, id: string, reference: string): Estimate | null {
  if (!arms.has(id) || !arms.has(reference)) return null;
  return difference(scoresOf(study, arms, id), scoresOf(study, arms, reference));
}

/** By seed: the mean of image and patch AUROC on the pictures that claims are judged by. */
export function scoresOf(study: Study, arms: Arms, id: string): Map<number, number> {
  const { judgedBy } = armsIn(study);
  const runs =
    id === "untrained"
      ? study.runs.filter((run) => run.do === "untrained").map((run) => [run.seed, run] as const)
      : runsOf(study, arms, id);
  const told = [...runs].map(([seed, { judged }]) => [seed, judged?.[judgedBy]] as const);
  return new Map(told.flatMap(([seed, own]) => (own ? [[seed, score(own)] as const] : [])));
}

export function said({ mean, low, high, seeds }: Estimate): string {
  const signed = (value: number) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
  return seeds === 1 ? `${signed(mean)} with one seed` : `${signed(mean)} (${signed(low)} to ${signed(high)}, ${seeds} seeds)`;
}

/** Better than weights drawn at random by more than chance gives. */
function hasLearned(study: Study, arms: Arms, id: string): boolean {
  const [own, floor] = [[...scoresOf(study, arms, id).values()], [...scoresOf(study, arms, "untrained").values()]];
  return own.length > 0 && mean(own) > (floor.length > 0 ? mean(floor) : 0.5) + LEARNED;
}

function startClaims(study: Study, arms: Arms, id: string, name: string): Claim[] {
  const whole = computeOf(arms, "scratch", study.preset).own;
  const budgets = BUDGETS.flatMap((suffix) => {
    const found = differenceOf(study, arms, id + suffix, "scratch");
    if (found === null) return [];
    const { own, withPretraining, withTeacher } = computeOf(arms, id + suffix, study.preset);
    return [{ found, own: own / whole, withPretraining: withPretraining / whole, withTeacher: withTeacher / whole }];
  });
  if (budgets.length === 0) return [];
  const claim = (what: string, charge: "own" | "withPretraining" | "withTeacher", limit: number): Claim => {
    const small = budgets.filter((budget) => budget[charge] <= limit + 1e-3);
    const least = Math.min(...budgets.map((budget) => budget[charge]));
    const text = `A start from ${name} reaches the scratch run's end at ${percent(limit)} of its compute, ${what}`;
    if (small.length === 0) return { claim: text, answer: "was not tried", because: `the cheapest run costs ${percent(least)}` };
    if (!hasLearned(study, arms, "scratch")) return { claim: text, answer: "cannot be told", because: UNLEARNED };
    const answers = small.map(({ found }) => atLeast(found, MARGIN));
    const answer = answers.includes("holds")
      ? "holds"
      : answers.every((one) => one === "does not hold")
        ? "does not hold"
        : "cannot be told";
    return { claim: text, answer, because: small.map((budget) => `at ${percent(budget[charge])}: ${said(budget.found)}`).join("; ") };
  };
  return [
    claim("pretraining not charged", "own", HALF),
    claim("pretraining charged", "withPretraining", CHARGED),
    ...(id === "clip" ? [claim("the teacher's training charged too", "withTeacher", CHARGED)] : []),
  ];
}

/** Alone on the device in large batches; and as the runs themselves went, where what a step costs whatever its size counts more. */
function speedClaims(study: Study, arms: Arms): Claim[] {
  const claim = (where: string, whole: number, dropped: number, more = ""): Claim => ({
    claim: `Half of the patches dropped train at least ${SPEED_UP} times as many images a second, ${where}`,
    answer: dropped / whole >= SPEED_UP ? "holds" : "does not hold",
    because: `${(dropped / whole).toFixed(2)} times: ${Math.round(dropped)} against ${Math.round(whole)} images/s${more}`,
  });
  const found: Claim[] = [];
  if (!arms.has("scratch") || !arms.has("dropout")) return found;
  const { speed } = study;
  const [whole, dropped] = [speed?.imagesPerSecond["scratch"], speed?.imagesPerSecond["dropout"]];
  if (speed && whole && dropped) {
    const saved = workOf(arms, "scratch", study) / workOf(arms, "dropout", study);
    const odd = dropped / whole > saved ? `; the operations saved explain ${saved.toFixed(2)} times, the rest was not looked into` : "";
    found.push(claim(`batch ${speed.batch}, alone on the device`, whole, dropped, odd));
  }
  const paces = ["scratch", "dropout"].map((id) =>
    [...runsOf(study, arms, id).values()].flatMap(({ imagesPerSecond }) => imagesPerSecond ?? []),
  );
  const [slow = [], fast = []] = paces;
  if (slow.length > 0 && fast.length > 0 && study.processes > 1) {
    found.push(claim(`batch ${(arms.get("scratch") as Arm).batch}, beside ${study.processes - 1} other runs`, mean(slow), mean(fast)));
  }
  return found;
}

/** Forward GFLOPs of a picture. */
function workOf(arms: Arms, id: string, { preset }: Study): number {
  return computeOf(arms, id, preset).own / (arms.get(id) as Arm).samples;
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
