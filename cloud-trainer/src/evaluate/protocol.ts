/**
 * Deals pictures to exemplars, calibration and test, as the published few-shot protocol does: half of each part good and half
 * defective, the defective ones spread evenly over their kinds, nothing on two sides, each seed another draw.
 * In: pictures with label and kind, how many are wanted, a seed. Out: the three parts. Where the set is too small, exemplars
 * get theirs first, then calibration, and the test takes what is left, still balanced.
 */
import { KenpinError } from "@kenpin/schema";
import { createRandom, type Random } from "@kenpin/stats";

export type Labelled = { label: "good" | "bad"; kind: string; split?: "train" | "test" | null };
/** Pictures of both labels together; `test` null takes all that is left. */
export type Wanted = { exemplars: number; calibration: number; test: number | null };
export type Dealt<P> = { exemplars: P[]; calibration: P[]; test: P[] };

export function dealFewShot<P extends Labelled>(pictures: readonly P[], wanted: Wanted, seed: number): Dealt<P> {
  const random = createRandom(seed);
  const good = random.shuffle(pictures.filter(({ label }) => label === "good"));
  const bad = evenly(
    pictures.filter(({ label }) => label === "bad"),
    random,
  );
  const counts = countsFor({ good: good.length, bad: bad.length }, wanted);
  const parts = (["exemplars", "calibration", "test"] as const).map((part) => {
    const half = counts[part];
    return [part, [...good.splice(0, half), ...bad.splice(0, half)]] as const;
  });
  return Object.fromEntries(parts) as Dealt<P>;
}

/**
 * Good references to teach by, from the set's own training part where it has one, and all other pictures of its test part to judge,
 * or `test` of them, half of each label.
 */
export function dealReferences<P extends Labelled>(
  pictures: readonly P[],
  { references, calibration, test }: { references: number; calibration: number; test: number | null },
  seed: number,
): Dealt<P> {
  const random = createRandom(seed);
  const parted = (["train", "test"] as const).map((part) => pictures.filter(({ split }) => split === part));
  const [train, judging] = parted.every((part) => part.length > 0) ? (parted as [P[], P[]]) : [pictures, pictures];
  const exemplars = random.shuffle(train.filter(({ label }) => label === "good")).slice(0, references);
  if (exemplars.length < references) {
    throw new KenpinError(
      "set-too-small",
      `${references} good references are asked for, the set has ${exemplars.length}; ask for fewer, or add pictures`,
    );
  }
  const taught = new Set(exemplars);
  const left = judging.filter((picture) => !taught.has(picture));
  const good = random.shuffle(left.filter(({ label }) => label === "good"));
  const bad = evenly(
    left.filter(({ label }) => label === "bad"),
    random,
  );
  if (good.length < 1 || bad.length < 1) throw noneLeft(good.length, bad.length);
  const calibrated = Math.min(Math.floor(calibration / 2), good.length - 1, bad.length - 1);
  const calibrating = [...good.splice(0, calibrated), ...bad.splice(0, calibrated)];
  const half = test === null ? Number.POSITIVE_INFINITY : Math.max(1, Math.floor(test / 2));
  return { exemplars, calibration: calibrating, test: [...good.slice(0, half), ...bad.slice(0, half)] };
}

function noneLeft(good: number, bad: number): KenpinError {
  const why = `the pictures to judge are ${good} good and ${bad} defective; at least one of each is needed`;
  return new KenpinError("one-class-only", `${why}: add pictures of the other label, or teach fewer of them`);
}

/** Of each label, for each part. */
function countsFor(have: { good: number; bad: number }, { exemplars, calibration, test }: Wanted): Record<keyof Wanted, number> {
  const least = Math.min(have.good, have.bad);
  const half = (count: number) => Math.floor(count / 2);
  const taught = half(exemplars);
  const calibrated = Math.min(half(calibration), Math.max(0, least - taught - 1));
  const left = least - taught - calibrated;
  if (taught < 1 || left < 1) {
    throw new KenpinError(
      "set-too-small",
      `${exemplars} exemplars need ${Math.max(1, taught)} pictures of each label and at least one more to test on; the set has ${have.good} good and ` +
        `${have.bad} defective: ask for fewer, or add pictures`,
    );
  }
  return { exemplars: taught, calibration: calibrated, test: test === null ? left : Math.min(half(test), left) };
}

/** Shuffled so that any part from the front holds as many of each kind as there are. */
function evenly<P extends Labelled>(pictures: readonly P[], random: Random): P[] {
  const kinds = [...new Set(pictures.map(({ kind }) => kind))].sort();
  const queues = kinds.map((kind) => random.shuffle(pictures.filter((picture) => picture.kind === kind)));
  const out: P[] = [];
  // Which kind comes first in a round is chance, or a part that ends within a round would always favour the same.
  while (queues.some((queue) => queue.length > 0)) {
    for (const queue of random.shuffle(queues)) {
      const next = queue.pop();
      if (next) out.push(next);
    }
  }
  return out;
}
