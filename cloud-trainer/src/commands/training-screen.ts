/**
 * A training on a terminal: one line that is written over, with stage, steps, loss and its curve, images/s and time left;
 * elsewhere such a line every few seconds. Notes stay.
 */
import type { RunProgress } from "@kenpin/schema";

const BARS = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
const CURVE_WIDTH = 24;
const SAY_EVERY_MS = 5000;

export function createTrainingScreen(): (line: RunProgress | { note: string }) => void {
  const lineOf = createProgressLine();
  const { isTTY } = process.stderr;
  const say = (text: string) => process.stderr.write(`${text}\n`);
  let [saidAt, stage] = [0, ""];
  return (line) => {
    if ("note" in line) return void say(`${isTTY ? "\r\x1b[K" : ""}${line.note}`);
    const text = lineOf(line);
    const fresh = line.stage !== stage;
    if (isTTY) process.stderr.write(`${fresh && stage ? "\n" : ""}\r\x1b[K${text}`);
    else if (fresh || Date.now() - saidAt >= SAY_EVERY_MS) {
      say(text);
      saidAt = Date.now();
    }
    stage = line.stage;
  };
}

export function createProgressLine(): (progress: RunProgress) => string {
  let [stage, losses]: [string, number[]] = ["", []];
  return (progress) => {
    if (progress.stage !== stage) [stage, losses] = [progress.stage, []];
    const { step, steps, loss, imagesPerSecond, secondsLeft } = progress;
    if (loss === null) return steps > 1 ? `${stage} ${step} of ${steps}` : stage;
    losses.push(loss);
    const parts = [`${stage} ${step}/${steps}`, `loss ${loss.toFixed(3)} ${sparkline(losses)}`];
    if (imagesPerSecond !== null) parts.push(`${imagesPerSecond.toFixed(0)} images/s`);
    if (secondsLeft !== null) parts.push(`${duration(secondsLeft)} left`);
    return parts.join("  ");
  };
}

/** The whole curve in a few characters: means of equal parts, between its lowest and its highest. */
export function sparkline(values: readonly number[]): string {
  const width = Math.min(CURVE_WIDTH, values.length);
  const means = Array.from({ length: width }, (_, i) => {
    const part = values.slice(Math.floor((i * values.length) / width), Math.floor(((i + 1) * values.length) / width));
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const level = (value: number) => (high === low ? 0 : Math.round(((value - low) / (high - low)) * (BARS.length - 1)));
  return means.map((mean) => BARS[level(mean)]).join("");
}

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
