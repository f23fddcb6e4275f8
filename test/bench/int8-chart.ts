/** Bars of milliseconds as an SVG, fastest last, readable on light and dark pages. */
export type Bar = { label: string; ms: number; note: string };

const [WIDTH, ROW, LEFT, RIGHT] = [760, 30, 250, 190];

export function barChart(title: string, bars: readonly Bar[]): string {
  const most = Math.max(...bars.map(({ ms }) => ms));
  const height = 44 + bars.length * ROW;
  const rows = bars.map(({ label, ms, note }, i) => {
    const [y, length] = [40 + i * ROW, ((WIDTH - LEFT - RIGHT) * ms) / most];
    return [
      `<text x="${LEFT - 8}" y="${y + 15}" text-anchor="end">${escaped(label)}</text>`,
      `<rect x="${LEFT}" y="${y}" width="${length.toFixed(1)}" height="20" rx="2" fill="${i === bars.length - 1 ? "#1f8a5b" : "#8a94a0"}"/>`,
      `<text x="${(LEFT + length + 6).toFixed(1)}" y="${y + 15}">${ms.toFixed(1)} ms${note === "" ? "" : `, ${escaped(note)}`}</text>`,
    ].join("");
  });
  const style = "text{font:13px system-ui,sans-serif;fill:#222}@media(prefers-color-scheme:dark){text{fill:#ddd}}";
  const head = `<text x="8" y="20" style="font-weight:600">${escaped(title)}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}"><title>Milliseconds of the image tower by route</title><style>${style}</style>${head}${rows.join("")}</svg>\n`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
