/**
 * What a report for the decision after a proof of concept is made from: one YAML sheet that names evaluations, targets and prices.
 * Every price has a default, which the page shows as an assumption and lets the reader change. Money is in `currency`.
 */
import { z } from "zod";
import { Probability } from "./primitives.ts";

const Amount = z.number().min(0).max(1e12);
const File = z.string().min(1).max(4096);

/** What must hold for a yes; left out, nothing is asked. */
export const ReportTargets = z.strictObject({
  escapeRate: Probability.optional(),
  overkillRate: Probability.optional(),
  accuracy: Probability.optional(),
  auroc: Probability.optional(),
  /** 95 of 100 pictures are answered within this. */
  latencyMs: z.number().positive().optional(),
});
export type ReportTargets = z.infer<typeof ReportTargets>;

export const ReportCosts = z.strictObject({
  years: z.number().min(0.1).max(50).default(3),
  partsPerYear: Amount.default(1_000_000),
  /** Share of parts that are defective before inspection. */
  defectRate: Probability.default(0.01),
  /** Of a bad part that reaches the customer, and of a good one that is thrown away or looked at again. */
  escapeCost: Amount.default(50),
  overkillCost: Amount.default(1),
  hoursPerYear: Amount.default(6000),
  energyPrice: Amount.default(0.2).describe("of a kilowatt-hour"),
  labourPerHour: Amount.default(30),
  secondsPerLabel: Amount.default(10),
  cloudPerHour: Amount.default(3),
});
export type ReportCosts = z.infer<typeof ReportCosts>;

export const ReportVariant = z.strictObject({
  name: z.string().min(1).max(100),
  /** A file of `kenpin evaluate --json`. */
  evaluation: File,
  devices: z.int().min(1).max(100_000).default(1),
  devicePrice: Amount.default(600),
  watts: Amount.default(20),
  /** Pictures labelled by people, once and again each year. */
  labels: Amount.default(0),
  labelsPerYear: Amount.default(0),
  /** Hours of rented computers, once and again each year. */
  cloudHours: Amount.default(0),
  cloudHoursPerYear: Amount.default(0),
  /** Hours of an engineer until it runs. */
  setupHours: Amount.default(8),
});
export type ReportVariant = z.infer<typeof ReportVariant>;

export const ReportSheet = z.strictObject({
  title: z.string().min(1).max(200).default("kenpin"),
  currency: z.string().min(1).max(8).default("EUR"),
  targets: ReportTargets.prefault({}),
  costs: ReportCosts.prefault({}),
  variants: z.array(ReportVariant).min(1).max(8),
  /** Few-shot evaluations with more and more exemplars: accuracy against labels. */
  learning: z.array(File).max(20).default([]),
});
export type ReportSheet = z.infer<typeof ReportSheet>;
