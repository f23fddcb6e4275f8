/**
 * Logistic regression with an L2 penalty where there are far more columns than rows: Newton's method on one weight a row
 * (the dual form of iteratively reweighted least squares), so that the cost grows with rows³ and not with columns³.
 * In: the rows' inner products, labels 0 or 1, what each row counts. Out: `alpha` and `intercept`; the logit of a row x is
 * Σ alphaᵢ · ⟨xᵢ, x⟩ + intercept, as scikit-learn's LogisticRegression(C = 1 / penalty) fits it.
 */
import { sigmoid } from "./logistic-regression.ts";

export type DualLogistic = { alpha: Float64Array; intercept: number };
type Problem = { gram: Float64Array; labels: readonly (0 | 1)[]; penalty: number; counts: readonly number[] };
type Place = DualLogistic & { logits: Float64Array };

const ROUNDS = 100;
/** Largest move of a logit at which it has arrived. */
const SETTLED = 1e-9;
const SHORTEST_STEP = 1e-6;

/** `gram` is [n, n] row by row; a row counts 1 unless `counts` says otherwise; the intercept is not penalised. */
export function dualLogisticRegression(
  gram: Float64Array,
  labels: readonly (0 | 1)[],
  { penalty, counts = labels.map(() => 1) }: { penalty: number; counts?: readonly number[] },
): DualLogistic {
  const problem = { gram, labels, penalty, counts };
  let here = placeAt(problem, new Float64Array(labels.length), 0);
  for (let round = 0; round < ROUNDS; round++) {
    const next = stepTowards(problem, here, newtonGoal(problem, here.logits));
    const moved = next.logits.reduce((most, value, i) => Math.max(most, Math.abs(value - (here.logits[i] as number))), 0);
    here = next;
    if (moved < SETTLED) break;
  }
  return { alpha: here.alpha, intercept: here.intercept };
}

function placeAt({ gram }: Problem, alpha: Float64Array, intercept: number): Place {
  const n = alpha.length;
  const logits = new Float64Array(n).fill(intercept);
  for (let i = 0; i < n; i++) {
    let sum = 0;
    for (let j = 0; j < n; j++) sum += (gram[i * n + j] as number) * (alpha[j] as number);
    logits[i] = (logits[i] as number) + sum;
  }
  return { alpha, intercept, logits };
}

/** Halves the step until the loss falls: far from the answer a whole Newton step may overshoot. */
function stepTowards(problem: Problem, here: Place, goal: DualLogistic): Place {
  const before = lossAt(problem, here);
  for (let step = 1; step > SHORTEST_STEP; step /= 2) {
    const alpha = here.alpha.map((value, i) => value + step * ((goal.alpha[i] as number) - value));
    const next = placeAt(problem, alpha, here.intercept + step * (goal.intercept - here.intercept));
    if (lossAt(problem, next) <= before) return next;
  }
  return here;
}

/** Σ cᵢ · log(1 + exp(∓logit)) + penalty / 2 · αᵀKα */
function lossAt({ labels, penalty, counts }: Problem, { alpha, intercept, logits }: Place): number {
  let loss = 0;
  for (const [i, logit] of logits.entries()) {
    const wrong = labels[i] === 1 ? -logit : logit;
    loss += (counts[i] as number) * (Math.max(0, wrong) + Math.log1p(Math.exp(-Math.abs(wrong))));
    loss += (penalty / 2) * (alpha[i] as number) * (logit - intercept);
  }
  return loss;
}

/** Where a quadratic of the same slope and bend has its least: (K + penalty · W⁻¹) α + b = z and Σ α = 0, z = logit + r / W. */
function newtonGoal({ gram, labels, penalty, counts }: Problem, logits: Float64Array): DualLogistic {
  const n = labels.length;
  const root = new Float64Array(n); // W^½
  const target = new Float64Array(n); // W^½ z
  for (let i = 0; i < n; i++) {
    const p = sigmoid(logits[i] as number);
    const weight = Math.max((counts[i] as number) * p * (1 - p), 1e-12);
    root[i] = Math.sqrt(weight);
    target[i] = (root[i] as number) * ((logits[i] as number) + ((counts[i] as number) * ((labels[i] as number) - p)) / weight);
  }
  // With S = W^½: (K + penalty · S⁻²)⁻¹ = S (S K S + penalty)⁻¹ S, which stays well conditioned where W is tiny.
  const matrix = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) matrix[i * n + j] = (gram[i * n + j] as number) * (root[i] as number) * (root[j] as number);
    matrix[i * n + i] = (matrix[i * n + i] as number) + penalty;
  }
  const lower = cholesky(matrix, n);
  const [u, v] = [solve(lower, target, n), solve(lower, root, n)];
  const dot = (a: Float64Array) => a.reduce((sum, value, i) => sum + value * (root[i] as number), 0);
  const intercept = dot(u) / dot(v);
  return { alpha: u.map((value, i) => (root[i] as number) * (value - intercept * (v[i] as number))), intercept };
}

/** The lower factor, in place. */
function cholesky(a: Float64Array, n: number): Float64Array {
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let sum = a[i * n + j] as number;
      for (let k = 0; k < j; k++) sum -= (a[i * n + k] as number) * (a[j * n + k] as number);
      a[i * n + j] = i === j ? Math.sqrt(sum) : sum / (a[j * n + j] as number);
    }
  }
  return a;
}

function solve(lower: Float64Array, right: Float64Array, n: number): Float64Array {
  const x = Float64Array.from(right);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] = (x[i] as number) - (lower[i * n + k] as number) * (x[k] as number);
    x[i] = (x[i] as number) / (lower[i * n + i] as number);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] = (x[i] as number) - (lower[k * n + i] as number) * (x[k] as number);
    x[i] = (x[i] as number) / (lower[i * n + i] as number);
  }
  return x;
}
