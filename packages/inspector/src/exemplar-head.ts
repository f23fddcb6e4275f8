/**
 * What good and bad exemplars of a site teach beyond a bank of good patches: a logistic regression on statistics of the frozen
 * tower's tokens, beside words and bank.
 * In: each exemplar's statistics and the fused logits it has without the head. Out: the head, how much it weighs, and the
 * score each exemplar gets from a teaching that has not seen it. Penalty and weights are chosen by cross-validation; a share
 * of 0, the bank and the words alone, is among the choices, so that a head that knows no better has no say. Pure.
 */
import { auroc, createRandom, dualLogisticRegression, logisticLine, sigmoid } from "@kenpin/stats";

export type Head = {
  /** On the statistics as they are; the head's logit is weights · statistics + intercept. */
  weights: Float64Array;
  intercept: number;
  /** score = sigmoid(scale · ((1 − share) · fused + share · head) + bias) */
  share: number;
  scale: number;
  bias: number;
  /** Of words and bank, in place of the bundle's. */
  bankWeight: number;
};
export type LabelledStatistics = { isBad: boolean; statistics: Float32Array; fusedBy: readonly number[] };
export type HeadFit = {
  head: Head;
  /** Cross-validated, in the exemplars' order. */
  scores: number[];
  /** Mean cross-entropy and AUROC, both labels counting alike: with the head, and of words and bank alone. */
  figures: { penalty: number; with: Judged; without: Judged };
};
type Judged = { crossEntropy: number; auroc: number };

/** Fewer of either kind tell nothing that cross-validation could confirm. */
export const LEAST_OF_A_KIND = 5;
const FOLDS = 5;
const ROUNDS = 3;
/** One round of folds is steady enough from here on, and three would take minutes. */
const MANY = 200;
const PENALTIES = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000];
const SHARES = [0, 0.25, 0.5, 0.75, 1];
/** Past this a logit is no more certain, and one odd frame would bend the mix. */
const LARGEST_LOGIT = 8;

/**
 * [F]: for each number of the patches' tokens and embeddings its mean, deviation, largest and smallest over the frame, and
 * for each of the tiles' embeddings its mean and largest.
 */
export function statisticsOf(rows: readonly { data: Float32Array; dim: number; spread: boolean }[]): Float32Array {
  return Float32Array.from(rows.flatMap(({ data, dim, spread }) => overRows(data, dim, spread)));
}

/** `bankWeights[k]` is what made `fusedBy[k]`; the first is the bundle's own. */
export function fitHead(exemplars: readonly LabelledStatistics[], bankWeights: readonly number[], seed = 1): HeadFit {
  const labels = exemplars.map(({ isBad }) => (isBad ? 1 : 0) as 0 | 1);
  const counts = evenCounts(labels);
  const judge = (logits: readonly number[]): Judged => ({
    crossEntropy: crossEntropy(logits, labels, counts),
    auroc: auroc(logits, labels),
  });
  const rows = exemplars.map(({ statistics }) => statistics);
  const { penalty, logits } = chosenPenalty(rows, labels, { counts, seed, judge });
  const tried = bankWeights.flatMap((bankWeight, k) =>
    SHARES.map((share) => {
      const mix = exemplars.map(({ fusedBy }, i) => mixed({ fused: fusedBy[k] as number, head: logits[i] as number }, share));
      const { slope, intercept } = logisticLine(mix, labels, 1, counts);
      const scale = Math.max(slope, 1e-3);
      const calibrated = mix.map((value) => scale * value + intercept);
      return { bankWeight, share, scale, bias: intercept, calibrated, judged: judge(calibrated) };
    }),
  );
  const least = (among: typeof tried) => among.reduce((a, b) => (b.judged.crossEntropy < a.judged.crossEntropy ? b : a));
  const best = least(tried);
  const { bankWeight, share, scale, bias } = best;
  return {
    head: { ...foldedRegression(rows, labels, { counts, penalty }), bankWeight, share, scale, bias },
    scores: best.calibrated.map(sigmoid),
    figures: { penalty, with: best.judged, without: least(tried.filter((one) => one.share === 0)).judged },
  };
}

/** The frame's logit from the fused one of words and bank and from the head. */
export function logitWithHead(fused: number, statistics: Float32Array, head: Head): number {
  const own = head.weights.reduce((sum, weight, i) => sum + weight * (statistics[i] as number), head.intercept);
  return head.scale * mixed({ fused, head: own }, head.share) + head.bias;
}

function mixed({ fused, head }: { fused: number; head: number }, share: number): number {
  const kept = (logit: number) => Math.min(LARGEST_LOGIT, Math.max(-LARGEST_LOGIT, logit));
  return (1 - share) * kept(fused) + share * kept(head);
}

type Fitting = { counts: readonly number[]; seed: number; judge: (logits: readonly number[]) => Judged };

/** The penalty whose logits, each from folds that have not seen its exemplar, have the smallest cross-entropy. */
function chosenPenalty(rows: readonly Float32Array[], labels: readonly (0 | 1)[], { counts, seed, judge }: Fitting) {
  const rounds = rows.length > MANY ? 1 : ROUNDS;
  const sums = PENALTIES.map(() => new Float64Array(rows.length));
  for (let round = 0; round < rounds; round++) {
    const folds = stratified(labels, seed + round);
    for (let fold = 0; fold < Math.max(...folds) + 1; fold++) {
      const inside = rows.flatMap((_, i) => (folds[i] === fold ? [] : [i]));
      const outside = rows.flatMap((_, i) => (folds[i] === fold ? [i] : []));
      const x = standardised(rows, inside);
      const gram = gramOf(x, inside, inside);
      const across = gramOf(x, outside, inside);
      const seen = { labels: inside.map((i) => labels[i] as 0 | 1), counts: inside.map((i) => counts[i] as number) };
      for (const [p, penalty] of PENALTIES.entries()) {
        const { alpha, intercept } = dualLogisticRegression(gram, seen.labels, { penalty, counts: seen.counts });
        const sum = sums[p] as Float64Array;
        for (const [row, i] of outside.entries()) {
          const logit = alpha.reduce((total, a, j) => total + a * (across[row * inside.length + j] as number), intercept);
          sum[i] = (sum[i] as number) + logit / rounds;
        }
      }
    }
  }
  const losses = sums.map((logits) => judge([...logits]).crossEntropy);
  const best = losses.indexOf(Math.min(...losses));
  return { penalty: PENALTIES[best] as number, logits: sums[best] as Float64Array };
}

/** Fitted on standardised statistics, and then folded so that it reads them as they are. */
function foldedRegression(
  rows: readonly Float32Array[],
  labels: readonly (0 | 1)[],
  { counts, penalty }: { counts: readonly number[]; penalty: number },
): Pick<Head, "weights" | "intercept"> {
  const all = rows.map((_, i) => i);
  const { centre, scale } = momentsOf(rows, all);
  const x = standardised(rows, all);
  const { alpha, intercept } = dualLogisticRegression(gramOf(x, all, all), labels, { penalty, counts });
  const weights = new Float64Array(centre.length);
  for (const [i, row] of x.entries())
    for (let j = 0; j < row.length; j++) weights[j] = (weights[j] as number) + (alpha[i] as number) * (row[j] as number);
  for (let j = 0; j < weights.length; j++) weights[j] = (weights[j] as number) / (scale[j] as number);
  return { weights, intercept: weights.reduce((sum, weight, j) => sum - weight * (centre[j] as number), intercept) };
}

function standardised(rows: readonly Float32Array[], inside: readonly number[]): Float64Array[] {
  const { centre, scale } = momentsOf(rows, inside);
  return rows.map((row) => Float64Array.from(row, (value, j) => (value - (centre[j] as number)) / (scale[j] as number)));
}

function momentsOf(rows: readonly Float32Array[], inside: readonly number[]): { centre: Float64Array; scale: Float64Array } {
  const columns = rows[0]?.length ?? 0;
  const centre = new Float64Array(columns);
  const scale = new Float64Array(columns);
  for (const i of inside) for (let j = 0; j < columns; j++) centre[j] = (centre[j] as number) + (rows[i]?.[j] as number) / inside.length;
  for (const i of inside)
    for (let j = 0; j < columns; j++) scale[j] = (scale[j] as number) + ((rows[i]?.[j] as number) - (centre[j] as number)) ** 2;
  return { centre, scale: scale.map((squares) => Math.sqrt(squares / Math.max(1, inside.length - 1)) || 1) };
}

function gramOf(x: readonly Float64Array[], a: readonly number[], b: readonly number[]): Float64Array {
  const gram = new Float64Array(a.length * b.length);
  for (const [row, i] of a.entries()) {
    const left = x[i] as Float64Array;
    for (const [column, j] of b.entries()) {
      const right = x[j] as Float64Array;
      let sum = 0;
      for (let k = 0; k < left.length; k++) sum += (left[k] as number) * (right[k] as number);
      gram[row * b.length + column] = sum;
    }
  }
  return gram;
}

/** Each exemplar's fold, both labels spread evenly over them. */
function stratified(labels: readonly (0 | 1)[], seed: number): number[] {
  const random = createRandom(seed);
  const folds = new Array<number>(labels.length).fill(0);
  for (const label of [0, 1]) {
    const own = random.shuffle(labels.flatMap((other, i) => (other === label ? [i] : [])));
    for (const [place, i] of own.entries()) folds[i] = place % FOLDS;
  }
  return folds;
}

/** Both labels weigh the same together, however many there are of each. */
function evenCounts(labels: readonly (0 | 1)[]): number[] {
  const bad = labels.filter((label) => label === 1).length;
  return labels.map((label) => labels.length / (2 * (label === 1 ? bad : labels.length - bad)));
}

function crossEntropy(logits: readonly number[], labels: readonly (0 | 1)[], counts: readonly number[]): number {
  const loss = logits.reduce((sum, logit, i) => {
    const wrong = labels[i] === 1 ? -logit : logit;
    return sum + (counts[i] as number) * (Math.max(0, wrong) + Math.log1p(Math.exp(-Math.abs(wrong))));
  }, 0);
  return loss / logits.length;
}

function overRows(data: Float32Array, dim: number, spread: boolean): number[] {
  const rows = data.length / dim;
  const [sum, squares] = [new Float64Array(dim), new Float64Array(dim)];
  const [most, least] = [new Float32Array(dim).fill(Number.NEGATIVE_INFINITY), new Float32Array(dim).fill(Number.POSITIVE_INFINITY)];
  for (let row = 0, at = 0; row < rows; row++) {
    for (let j = 0; j < dim; j++, at++) {
      const value = data[at] as number;
      sum[j] = (sum[j] as number) + value;
      squares[j] = (squares[j] as number) + value * value;
      if (value > (most[j] as number)) most[j] = value;
      if (value < (least[j] as number)) least[j] = value;
    }
  }
  const mean = sum.map((value) => value / rows);
  if (!spread) return [...mean, ...most];
  const deviation = squares.map((value, j) => Math.sqrt(Math.max(0, value / rows - (mean[j] as number) ** 2)));
  return [...mean, ...deviation, ...most, ...least];
}
