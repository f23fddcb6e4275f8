/**
 * How far one figure's values have moved: the population stability index, Σ (now − then) · ln(now / then) over equally filled bins of
 * the reference. In: values of then and of now. Out: 0 where nothing moved; where both are drawn alike, (bins − 1) · (1/n + 1/m) on
 * average, so that few values never say much. Pure.
 */
const BINS = 5;
/** An empty bin stands for half a value, not for an endless index. */
const EMPTY = 0.5;

export function populationStability(then: readonly number[], now: readonly number[]): number {
  if (then.length === 0 || now.length === 0) return 0;
  const edges = edgesOf(then);
  const [before, after] = [sharesOf(then, edges), sharesOf(now, edges)];
  return before.reduce((sum, share, bin) => {
    const other = after[bin] as number;
    return sum + (other - share) * Math.log(other / share);
  }, 0);
}

/** Values as they occur, so that many that are the same stand in one bin. */
function edgesOf(values: readonly number[]): number[] {
  const sorted = values.toSorted((a, b) => a - b);
  const edges = Array.from({ length: BINS - 1 }, (_, i) => sorted[Math.ceil(((i + 1) * sorted.length) / BINS) - 1] as number);
  return [...new Set(edges)];
}

function sharesOf(values: readonly number[], edges: readonly number[]): number[] {
  const counts = Array.from({ length: edges.length + 1 }, () => 0);
  for (const value of values) {
    const bin = edges.findIndex((edge) => value <= edge);
    const at = bin < 0 ? edges.length : bin;
    counts[at] = (counts[at] as number) + 1;
  }
  return counts.map((count) => (count + EMPTY) / (values.length + EMPTY * counts.length));
}
