/**
 * How often a shift without a change is said to drift, and how soon a change is found: whole shifts of a simulated line, eight hours, of
 * whose frames five count in nine seconds. node test/bench/drift.ts [shifts] [first seed] prints progress on stderr and one JSON object of figures on stdout.
 */
import { quantile } from "@kenpin/stats";
import { BLOCK_FRAMES, EVERY_MS, PAUSE_MS, REFERENCE_FRAMES, WINDOW_FRAMES } from "../../edge-agent/src/watch/drift-watch.ts";
import { Line } from "../support/drifting-line.ts";

const SHIFT_FRAMES = Math.floor((8 * 3_600_000) / (PAUSE_MS + (BLOCK_FRAMES - 1) * EVERY_MS)) * BLOCK_FRAMES;
const REPEATS = 20;
/** A change is given up after so many windows. */
const MOST_WINDOWS = 40;
/** In levels of 256, where the line's own light has a deviation of 2.5; in log-odds, where its scores have one of 0.8. */
const CHANGES = [
  { brightness: -12 },
  { brightness: -6 },
  { brightness: -3 },
  { score: 1, words: 1 },
  { score: 0.5, words: 0.5 },
  { sharpness: -0.2 },
];

const [shifts = 20, firstSeed = 5000] = process.argv.slice(2).map(Number);
const began = performance.now();
let alarms = 0;
for (let shift = 0; shift < shifts; shift++) {
  const line = new Line(firstSeed + shift);
  line.run(REFERENCE_FRAMES);
  if (line.run(SHIFT_FRAMES).some(({ state }) => state === "drifting")) alarms++;
  const left = ((performance.now() - began) * (shifts - shift - 1)) / (shift + 1) / 1000;
  process.stderr.write(`shift ${shift + 1} of ${shifts}, ${alarms} alarmed, ${Math.ceil(left)} s left\n`);
}
const msAWindow = (performance.now() - began) / (shifts * (SHIFT_FRAMES / WINDOW_FRAMES));
const found = CHANGES.map((change) => {
  const frames = Array.from({ length: REPEATS }, (_, i) => framesUntilFound(new Line(9000 + i), change));
  return {
    change,
    framesMedian: quantile(frames, 0.5),
    framesMost: Math.max(...frames),
    missed: frames.filter((one) => !Number.isFinite(one)).length,
  };
});
process.stdout.write(`${JSON.stringify({ shifts, firstSeed, shiftsThatAlarmed: alarms, msAWindow, repeats: REPEATS, found }, null, 2)}\n`);

function framesUntilFound(line: Line, change: (typeof CHANGES)[number]): number {
  line.run(REFERENCE_FRAMES);
  for (let window = 1; window <= MOST_WINDOWS; window++) {
    line.run(WINDOW_FRAMES, change);
    if (line.watch.state === "drifting") return window * WINDOW_FRAMES;
  }
  return Number.POSITIVE_INFINITY;
}
