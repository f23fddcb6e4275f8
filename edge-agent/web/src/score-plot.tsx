/** Scores on an axis from 0 to 1: good ones above it, bad ones below, unsorted between; told apart by shape as well as by colour. */
import type { Curve } from "@kenpin/schema";
import type { Texts } from "./texts.ts";

type Props = { curve: Curve; thresholds: { pass: number; cut: number; fail: number }; t: Texts };

const [WIDTH, HEIGHT, EDGE] = [800, 190, 20];
const ROWS = { good: 46, unsorted: 92, bad: 138 } as const;
/** Marks that would cover each other are put beside each other, up and down. */
const SPREAD = [0, -9, 9, -18, 18];

export function ScorePlot({ curve, thresholds, t }: Props) {
  const { good, bad, unsorted } = curve;
  const x = (score: number) => EDGE + score * (WIDTH - 2 * EDGE);
  return (
    <figure class="plot">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={t.curveAlt(good.length, bad.length, unsorted.length)}>
        <rect class="stopped" x={x(thresholds.fail)} y="8" width={x(1) - x(thresholds.fail)} height={HEIGHT - 34} />
        <rect class="undecided" x={x(thresholds.pass)} y="8" width={x(thresholds.fail) - x(thresholds.pass)} height={HEIGHT - 34} />
        <Marks scores={good} row={ROWS.good} kind="good" x={x} />
        <Marks scores={unsorted} row={ROWS.unsorted} kind="unsorted" x={x} />
        <Marks scores={bad} row={ROWS.bad} kind="bad" x={x} />
        <line class="cut" x1={x(thresholds.cut)} x2={x(thresholds.cut)} y1="4" y2={HEIGHT - 22} />
        <line class="axis" x1={x(0)} x2={x(1)} y1={HEIGHT - 26} y2={HEIGHT - 26} />
        {[0, 0.25, 0.5, 0.75, 1].map((score) => (
          <text key={score} x={x(score)} y={HEIGHT - 8} text-anchor="middle">
            {score}
          </text>
        ))}
      </svg>
      <figcaption>
        <span>{t.scoreAxis}</span>
        <Legend kind="good" text={t.goodLegend} count={good.length} />
        <Legend kind="bad" text={t.badLegend} count={bad.length} />
        <Legend kind="unsorted" text={t.otherLegend} count={unsorted.length} />
      </figcaption>
    </figure>
  );
}

type Kind = keyof typeof ROWS;

function Marks({ scores, row, kind, x }: { scores: readonly number[]; row: number; kind: Kind; x: (score: number) => number }) {
  const sorted = [...scores].sort((a, b) => a - b);
  return (
    <g class={`marks ${kind}`}>
      {sorted.map((score, i) => (
        <Mark key={i} kind={kind} x={x(score)} y={row + (SPREAD[i % SPREAD.length] as number)} />
      ))}
    </g>
  );
}

/** A circle, a cross, a square. */
function Mark({ kind, x, y }: { kind: Kind; x: number; y: number }) {
  if (kind === "good") return <circle cx={x} cy={y} r="5" />;
  if (kind === "unsorted") return <rect x={x - 4} y={y - 4} width="8" height="8" />;
  return <path d={`M${x - 5} ${y - 5}l10 10m0-10l-10 10`} />;
}

function Legend({ kind, text, count }: { kind: Kind; text: string; count: number }) {
  return (
    <span class="legend">
      <svg viewBox="0 0 14 14" aria-hidden="true" class={`marks ${kind}`}>
        <Mark kind={kind} x={7} y={7} />
      </svg>
      {text} {count}
    </span>
  );
}
