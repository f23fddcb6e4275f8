/** Total cost of ownership, by hand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ReportCosts, ReportVariant } from "@kenpin/schema";
import { totalCost } from "../../../cloud-trainer/src/report/total-cost.ts";

const PRICES = ReportCosts.parse({
  years: 2,
  partsPerYear: 100_000,
  defectRate: 0.02,
  escapeCost: 40,
  overkillCost: 0.5,
  hoursPerYear: 4000,
  energyPrice: 0.25,
  labourPerHour: 36,
  secondsPerLabel: 10,
  cloudPerHour: 3,
});
const VARIANT = ReportVariant.parse({
  name: "few-shot",
  evaluation: "e.json",
  devices: 2,
  devicePrice: 500,
  watts: 25,
  labels: 100,
  labelsPerYear: 50,
  cloudHours: 1,
  cloudHoursPerYear: 2,
  setupHours: 10,
});

test("money is counted by kind over all years, and adds up", () => {
  const cost = totalCost(PRICES, VARIANT, { escapeRate: 0.1, overkillRate: 0.02 });
  // 2 · 25 W · 8,000 h = 400 kWh; 200 labels · 10 s = 2,000 s; 200,000 parts, 4,000 of them bad
  const expected = { devices: 1000, energy: 100, setup: 360, labels: 20, cloud: 15, escapes: 16_000, overkill: 1960 };
  for (const [kind, value] of Object.entries(expected)) assert.ok(Math.abs(cost[kind as keyof typeof cost] - value) < 1e-9, kind);
  assert.ok(Math.abs(cost.total - 19_455) < 1e-9);
});

test("rates that nobody measured cost nothing, and the report says so elsewhere", () => {
  const cost = totalCost(PRICES, VARIANT, { escapeRate: null, overkillRate: null });
  assert.deepEqual([cost.escapes, cost.overkill], [0, 0]);
});
