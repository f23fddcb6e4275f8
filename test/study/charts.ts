/** Curves as an SVG with a band over the seeds, readable on light and dark pages. In: lines of points. Out: the file's text. */
export type Line = { label: string; points: { x: number; y: number; low: number; high: number }[] };
export type Axes = { title: string; x: string; y: string };

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [760, 360, 62, 240, 36, 46];
/** Told apart without red and green (Okabe and Ito 2008). */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const STYLE = "text{font:13px system-ui,sans-serif;fill:#222}@media(prefers-color-scheme:dark){text{fill:#ddd}}";
const TICKS = 5;

export function lineChart({ title, x, y }: Axes, lines: readonly Line[]): string {
  const points = lines.flatMap(({ points }) => points);
  const [left, right] = range(points.map((point) => point.x));
  const [low, high] = range(points.flatMap((point) => [point.low, point.high]));
  const place = {
    x: (value: number) => LEFT + ((value - left) / (right - left)) * (WIDTH - LEFT - RIGHT),
    y: (value: number) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM),
  };
  const grid = [
    ...ticks(low, high).map((value) => {
      const at = place.y(value).toFixed(1);
      return `<path d="M${LEFT} ${at}H${WIDTH - RIGHT}" stroke="#8888" stroke-width=".5"/><text x="${LEFT - 6}" y="${at}" dy="4" text-anchor="end">${value.toFixed(2)}</text>`;
    }),
    ...ticks(left, right).map(
      (value) => `<text x="${place.x(value).toFixed(1)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${short(value)}</text>`,
    ),
  ];
  const drawn = lines.map((line, i) => drawLine(line, COLOURS[i % COLOURS.length] as string, i, place));
  const words = [
    `<text x="8" y="20" style="font-weight:600">${escaped(title)}</text>`,
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${escaped(x)}</text>`,
    `<text x="${WIDTH - RIGHT + 12}" y="${TOP - 4}">${escaped(y)}</text>`,
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}"><title>${escaped(title)}</title><style>${STYLE}</style>${[...words, ...grid, ...drawn].join("")}</svg>\n`;
}

type Place = { x: (value: number) => number; y: (value: number) => number };

function drawLine({ label, points }: Line, colour: string, row: number, place: Place): string {
  const at = (x: number, y: number) => `${place.x(x).toFixed(1)} ${place.y(y).toFixed(1)}`;
  const there = points.map(({ x, high }) => at(x, high));
  const back = [...points].reverse().map(({ x, low }) => at(x, low));
  const band = points.length > 1 ? `<path d="M${[...there, ...back].join("L")}Z" fill="${colour}" fill-opacity=".15"/>` : "";
  const line = `<path d="M${points.map(({ x, y }) => at(x, y)).join("L")}" fill="none" stroke="${colour}" stroke-width="2"/>`;
  const dots = points
    .map(({ x, y }) => `<circle cx="${place.x(x).toFixed(1)}" cy="${place.y(y).toFixed(1)}" r="2.5" fill="${colour}"/>`)
    .join("");
  const y = TOP + 14 + row * 20;
  const key = `<path d="M${WIDTH - RIGHT + 12} ${y - 4}h18" stroke="${colour}" stroke-width="2"/><text x="${WIDTH - RIGHT + 36}" y="${y}">${escaped(label)}</text>`;
  return band + line + dots + key;
}

/** With a little air, and never empty. */
function range(values: readonly number[]): [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const air = (high - low) * 0.04 || 0.01;
  return [low - air, high + air];
}

function ticks(low: number, high: number): number[] {
  const rough = (high - low) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) as number);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

function short(value: number): string {
  return Math.abs(value) >= 1000 ? `${Math.round(value / 1000)}k` : String(Math.round(value * 100) / 100);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
