/**
 * What was measured of one model on this device, as it is kept: provider, threads, tiles at once, and how long that took.
 * It holds for what was asked; another runtime or list of providers is measured anew.
 */
import type { ChosenRuntime } from "@kenpin/inspector";
import { type AgentConfig, Milliseconds, Provider, Timestamp } from "@kenpin/schema";
import { z } from "zod";

const Choice = z.strictObject({ provider: Provider, threads: z.int().min(1), batch: z.int().min(1), msPerTile: Milliseconds });
const PassedOver = z.strictObject({ provider: Provider, why: z.string(), endedIt: z.boolean().optional() });

export const Tuning = z.strictObject({
  format: z.literal(1),
  /** What the measurement holds for. */
  asked: z.string(),
  device: z.string(),
  runtime: z.strictObject({ kind: z.enum(["node", "python"]), version: z.string() }),
  best: Choice,
  measured: z.array(Choice),
  passedOver: z.array(PassedOver),
  /** Each provider's share of the time that the model's nodes took. */
  ranOn: z.partialRecord(Provider, z.number()),
  openMs: Milliseconds,
  /** All of it, engine and measurements. */
  tookMs: Milliseconds,
  at: Timestamp,
});
export type Tuning = z.infer<typeof Tuning>;

type Asked = Pick<AgentConfig, "threads"> & {
  inspector: Pick<AgentConfig["inspector"], "runtime" | "python" | "providers" | "gpuMemoryMb">;
};

export function askedFor({ threads, inspector: { runtime, python, providers, gpuMemoryMb } }: Asked): string {
  return JSON.stringify({ runtime: runtime === "python" ? python : runtime, providers, threads, gpuMemoryMb });
}

/** Whether the model was opened there, chosen in the end or not. */
export function tried({ measured }: Pick<Tuning, "measured">, provider: Provider): boolean {
  return measured.some((one) => one.provider === provider);
}

/** Those that could run the model and should not: measured and found wanting, or deadly to try. */
export function unfit({ best, measured, passedOver }: Pick<Tuning, "best" | "measured" | "passedOver">): Provider[] {
  const wanting = measured.flatMap(({ provider }) => (provider === best.provider || provider === "cpu" ? [] : provider));
  return [...new Set([...wanting, ...passedOver.flatMap(({ provider, endedIt }) => (endedIt ? provider : []))])];
}

export function tuningOf(chosen: ChosenRuntime, facts: Pick<Tuning, "asked" | "device" | "tookMs" | "at">): Tuning {
  return { format: 1, ...chosen, ...facts };
}
