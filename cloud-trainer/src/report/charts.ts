/** Small line charts as inline SVG, readable without colour: each line has its own dash and a name at its end. Pure. */
type ChartLine = { name: string; points: { x: number; y: number; error?: number | null }[] };
export type Chart = { lines: ChartLine[]; x: string; y: string; xMax: number; yMin: number; yMax: number; percent?: boolean };

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [700, 320, 68, 200, 12, 44];
const COLOURS = ["#0b5cad", "#b3420b", "#2f7d32", "#7a3e9d", "#5c5c00", "#a01050", "#006d77", "#444444"];
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 4", "10 4", "4 2", "3 6"];
const TICKS = 5;

export function lineChart({ lines, x, y, xMax, yMin, yMax, percent = true }: Chart): string {
  const across = (value: number) => LEFT + (value / (xMax || 1)) * (WIDTH - LEFT - RIGHT);
  const down = (value: number) => TOP + (1 - (value - yMin) / (yMax - yMin || 1)) * (HEIGHT - TOP - BOTTOM);
  const label = (value: number) => (percent ? `${+(100 * value).toFixed(1)} %` : String(+value.toFixed(2)));
  const ticks = Array.from({ length: TICKS + 1 }, (_, i) => i / TICKS);
  const grid = ticks.map((share) => {
    const value = yMin + share * (yMax - yMin);
    const at = down(value).toFixed(1);
    return `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" class="grid"/><text x="${LEFT - 6}" y="${at}" class="tick end">${label(value)}</text>`;
  });
  const below = ticks.map((share) => {
    const value = share * xMax;
    return `<text x="${across(value).toFixed(1)}" y="${HEIGHT - BOTTOM + 18}" class="tick middle">${percent && xMax <= 1 ? label(value) : Math.round(value)}</text>`;
  });
  const drawn = lines.map(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const path = points.map((point, j) => `${j ? "L" : "M"}${across(point.x).toFixed(1)} ${down(point.y).toFixed(1)}`).join("");
    const bars = points.flatMap(({ x: at, y: value, error }) =>
      error
        ? [`<line x1="${across(at)}" x2="${across(at)}" y1="${down(value - error)}" y2="${down(value + error)}" stroke="${colour}"/>`]
        : [],
    );
    const dots =
      points.length <= 12 ? points.map((point) => `<circle cx="${across(point.x)}" cy="${down(point.y)}" r="3" fill="${colour}"/>`) : [];
    const key = `<line x1="${WIDTH - RIGHT + 8}" x2="${WIDTH - RIGHT + 32}" y1="${TOP + 10 + 20 * i}" y2="${TOP + 10 + 20 * i}" stroke="${colour}" stroke-dasharray="${DASHES[i % DASHES.length]}" stroke-width="2"/><text x="${WIDTH - RIGHT + 38}" y="${TOP + 10 + 20 * i}" class="tick">${escapeText(name.slice(0, 28))}</text>`;
    return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2" stroke-dasharray="${DASHES[i % DASHES.length]}"/>${bars.join("")}${dots.join("")}${key}`;
  });
  const axes = `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" class="axis middle">${escapeText(x)}</text><text transform="translate(12 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" class="axis middle">${escapeText(y)}</text>`;
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeText(`${y} / ${x}`)}">${grid.join("")}${below.join("")}${drawn.join("")}${axes}</svg>`;
}

export function escapeText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;");
}
