/**
 * The mean of each patch's token and its neighbours' within a tile, brought to length 1 again, so that a bank sees a little
 * context (PatchCore, arXiv 2106.08265). At a tile's edge the window is cut. In and out: tokens [tiles·P, dim].
 */
export function windowMeans(tokens: Float32Array, dim: number, { grid, window }: { grid: number; window: number }): Float32Array {
  if (window === 1) return tokens;
  const reach = (window - 1) / 2;
  // One axis after the other: a sum of sums. Lengths are made 1 at the end, so a cut window needs no count of its own.
  const across = sums(tokens, dim, { grid, reach, step: 1 });
  const out = sums(across, dim, { grid, reach, step: grid });
  for (let from = 0; from < out.length; from += dim) {
    let squares = 0;
    for (let i = from; i < from + dim; i++) squares += (out[i] as number) ** 2;
    const scale = 1 / Math.sqrt(squares || 1);
    for (let i = from; i < from + dim; i++) out[i] = (out[i] as number) * scale;
  }
  return out;
}

/** `step` is 1 along a row of patches and `grid` along a column. */
function sums(tokens: Float32Array, dim: number, { grid, reach, step }: { grid: number; reach: number; step: number }): Float32Array {
  const out = new Float32Array(tokens.length);
  for (let patch = 0; patch < tokens.length / dim; patch++) {
    const place = Math.floor(patch / step) % grid;
    for (let away = Math.max(-reach, -place); away <= Math.min(reach, grid - 1 - place); away++) {
      const [to, from] = [patch * dim, (patch + away * step) * dim];
      for (let i = 0; i < dim; i++) out[to + i] = (out[to + i] as number) + (tokens[from + i] as number);
    }
  }
  return out;
}
