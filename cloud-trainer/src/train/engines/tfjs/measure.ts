/** How fast this machine multiplies large float32 matrices, in GFLOP/s: what the plan of a run is foreseen from. */
import { loadBackend } from "./backend.ts";

const SIDE = 1024;
const ROUNDS = 7;

export async function measureProducts(): Promise<number> {
  const { tf } = await loadBackend();
  const [a, b] = [tf.randomNormal([SIDE, SIDE]), tf.randomNormal([SIDE, SIDE])];
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = performance.now();
    tf.tidy(() => tf.sum(tf.matMul(a, b)).dataSync());
    times.push((performance.now() - startedAt) / 1000);
  }
  tf.dispose([a, b]);
  const best = Math.min(...times.slice(1)); // the first one loads kernels
  return (2 * SIDE ** 3) / best / 1e9;
}
