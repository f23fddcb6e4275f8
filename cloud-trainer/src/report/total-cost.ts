/**
 * Total cost of ownership of one way to inspect, in the reader's own prices. In: prices, a variant, and its error rates. Out: money
 * by kind over all years. One function with nothing outside it: the page carries its very source, so that what the reader changes is
 * counted as it was here.
 */
import type { ReportCosts, ReportVariant } from "@kenpin/schema";

export type ErrorRates = { escapeRate: number | null; overkillRate: number | null };
export type TotalCost = Record<"devices" | "energy" | "setup" | "labels" | "cloud" | "escapes" | "overkill" | "total", number>;

export function totalCost(costs: ReportCosts, variant: Omit<ReportVariant, "name" | "evaluation">, rates: ErrorRates): TotalCost {
  const parts = costs.partsPerYear * costs.years;
  const labels = variant.labels + variant.labelsPerYear * costs.years;
  const cloudHours = variant.cloudHours + variant.cloudHoursPerYear * costs.years;
  const sums = {
    devices: variant.devices * variant.devicePrice,
    energy: ((variant.devices * variant.watts) / 1000) * costs.hoursPerYear * costs.years * costs.energyPrice,
    setup: variant.setupHours * costs.labourPerHour,
    labels: ((labels * costs.secondsPerLabel) / 3600) * costs.labourPerHour,
    cloud: cloudHours * costs.cloudPerHour,
    escapes: parts * costs.defectRate * (rates.escapeRate ?? 0) * costs.escapeCost,
    overkill: parts * (1 - costs.defectRate) * (rates.overkillRate ?? 0) * costs.overkillCost,
  };
  return { ...sums, total: Object.values(sums).reduce((sum, value) => sum + value, 0) };
}
