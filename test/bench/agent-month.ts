/**
 * An agent's month at full size, with a fast clock: a frame every two minutes, thirty starts, five days without a hub.
 * node test/bench/agent-month.ts [days] [seconds between frames] prints progress on stderr and one JSON object of figures on stdout.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { liveThroughMonth } from "../support/agent-month.ts";

const [days = 30, seconds = 120] = process.argv.slice(2).map(Number);
const folder = await mkdtemp(join(tmpdir(), "kenpin-month-"));
try {
  const began = process.hrtime.bigint();
  const month = await liveThroughMonth({
    folder,
    days,
    everyMs: seconds * 1000,
    hubAway: [10, 11, 12, 13, 14],
    clockLostOn: 6,
    lampDimsOn: days - 6,
    onDay: (day) => {
      const left = ((Number(process.hrtime.bigint() - began) / 1e9) * (days - day - 1)) / (day + 1);
      process.stderr.write(`day ${day + 1} of ${days}, ${Math.ceil(left)} s left\n`);
    },
  });
  const gaps = [...month.boots.values()].filter((seqs) => seqs.some((seq, i) => seq !== i + 1)).length;
  const alarms = month.drift.filter(({ state, day }) => state === "drifting" && day < days - 6).length;
  const found = month.drift.find(({ state, day }) => state === "drifting" && day >= days - 6);
  const { boots, drift, ...figures } = month;
  const whole = {
    ...figures,
    boots: boots.size,
    bootsWithGaps: gaps,
    windows: drift.length,
    windowsDriftingBeforeTheLampDims: alarms,
    found,
  };
  process.stdout.write(`${JSON.stringify({ days, seconds, ...whole }, null, 2)}\n`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
