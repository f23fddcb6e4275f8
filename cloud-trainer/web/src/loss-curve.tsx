/** The loss over the steps as one line; its scale fits what is there, and both ends of it are named. */
import type { RunProgress } from "@kenpin/schema";
import type { Texts } from "./texts.ts";

const WIDTH = 480;
const HEIGHT = 120;
/** A screen has no more columns to show. */
const POINTS = 480;

export function LossCurve({ curve, t }: { curve: RunProgress[]; t: Texts }) {
  const points = thin(curve.filter((point): point is RunProgress & { loss: number } => point.loss !== null));
  const last = points.at(-1);
  if (!last || points.length < 2) return null;
  const losses = points.map(({ loss }) => loss);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const x = (i: number) => (i / (points.length - 1)) * WIDTH;
  const y = (loss: number) => HEIGHT - 4 - ((loss - low) / Math.max(high - low, 1e-9)) * (HEIGHT - 8);
  const path = points.map(({ loss }, i) => `${i === 0 ? "M" : "L"}${x(i).toFixed(1)} ${y(loss).toFixed(1)}`).join("");
  return (
    <figure class="curve">
      <figcaption>{t.lossCurve}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${t.lossCurve}: ${last.loss.toFixed(3)}`}>
        <path d={path} vector-effect="non-scaling-stroke" />
      </svg>
      <span class="high">{high.toFixed(3)}</span>
      <span class="low">{low.toFixed(3)}</span>
    </figure>
  );
}

function thin<T>(points: T[]): T[] {
  const every = Math.ceil(points.length / POINTS);
  return points.filter((_, i) => i % every === 0 || i === points.length - 1);
}
