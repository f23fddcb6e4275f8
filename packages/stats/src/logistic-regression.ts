/**
 * Logistic regression with an L2 penalty by Newton's method (iteratively reweighted least squares), on standardised
 * columns, as scikit-learn fits it (C = 1 / penalty, the intercept is not penalised).
 * In: rows of features and labels 0 or 1, and what each row counts (1 unless given). Out: a function from a row to the
 * probability of label 1.
 */
import { deviation, mean } from "./quantile.ts";

export function logisticRegression(
  rows: readonly number[][],
  labels: readonly (0 | 1)[],
  penalty = 1,
  counts?: readonly number[],
): (row: number[]) => number {
  const columns = rows[0]?.length ?? 0;
  const centre = Array.from({ length: columns }, (_, j) => mean(rows.map((row) => row[j] as number)));
  const scale = Array.from({ length: columns }, (_, j) => deviation(rows.map((row) => row[j] as number)) || 1);
  const standardise = (row: number[]) => [1, ...row.map((x, j) => (x - (centre[j] as number)) / (scale[j] as number))];
  const x = rows.map(standardise);
  let w = new Array<number>(columns + 1).fill(0);
  for (let round = 0; round < 50; round++) {
    const step = newtonStep(x, labels, w, { penalty, counts });
    w = w.map((value, j) => value + (step[j] as number));
    if (Math.max(...step.map(Math.abs)) < 1e-8) break;
  }
  return (row) => sigmoid(dot(standardise(row), w));
}

type Fit = { penalty: number; counts: readonly number[] | undefined };

function newtonStep(x: number[][], labels: readonly (0 | 1)[], w: number[], { penalty, counts }: Fit): number[] {
  const n = w.length;
  const gradient = w.map((value, j) => (j === 0 ? 0 : -penalty * value));
  const hessian = w.map((_, j) => w.map((__, k) => (j === k ? (j === 0 ? 1e-9 : penalty) : 0)));
  for (const [i, row] of x.entries()) {
    const p = sigmoid(dot(row, w));
    const count = counts?.[i] ?? 1;
    const weight = count * p * (1 - p);
    for (let j = 0; j < n; j++) {
      gradient[j] = (gradient[j] as number) + count * ((labels[i] as number) - p) * (row[j] as number);
      const line = hessian[j] as number[];
      for (let k = 0; k < n; k++) line[k] = (line[k] as number) + weight * (row[j] as number) * (row[k] as number);
    }
  }
  return solve(hessian, gradient);
}

/** Gaussian elimination with partial pivoting. */
function solve(matrix: number[][], right: number[]): number[] {
  const n = right.length;
  const a = matrix.map((row, i) => [...row, right[i] as number]);
  for (let col = 0; col < n; col++) {
    let pivot = col;
    for (let row = col + 1; row < n; row++) if (Math.abs(at(a, row, col)) > Math.abs(at(a, pivot, col))) pivot = row;
    [a[col], a[pivot]] = [a[pivot] as number[], a[col] as number[]];
    for (let row = col + 1; row < n; row++) {
      const factor = at(a, row, col) / at(a, col, col);
      for (let k = col; k <= n; k++) (a[row] as number[])[k] = at(a, row, k) - factor * at(a, col, k);
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let row = n - 1; row >= 0; row--) {
    let sum = at(a, row, n);
    for (let k = row + 1; k < n; k++) sum -= at(a, row, k) * (x[k] as number);
    x[row] = sum / at(a, row, row);
  }
  return x;
}

function at(a: number[][], row: number, col: number): number {
  return (a[row] as number[])[col] as number;
}

function dot(a: number[], b: number[]): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);
}

export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** The same over one column, as a line: P(label 1) = sigmoid(slope · x + intercept). */
export function logisticLine(
  values: readonly number[],
  labels: readonly (0 | 1)[],
  penalty = 1,
  counts?: readonly number[],
): { slope: number; intercept: number } {
  const probability = logisticRegression(
    values.map((value) => [value]),
    labels,
    penalty,
    counts,
  );
  const logit = (x: number) => {
    const p = probability([x]);
    return Math.log(p / (1 - p));
  };
  const centre = mean(values);
  const step = deviation(values) || 1;
  // Two points near the middle, where the sigmoid is far from its ends and the logit exact.
  const slope = (logit(centre + step / 2) - logit(centre - step / 2)) / step;
  return { slope, intercept: logit(centre) - slope * centre };
}
