/**
 * A bundle judged by the very worker that a device runs: taught anew for each seed, then asked for scores; its times are taken apart
 * from that, in a worker that keeps nothing. In: a bundle's files in a folder (manifest.json too). Out: scores in [0, 1], maps as
 * one value a pixel, milliseconds by stage.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { enlargeMap, type Inspector, startInspector } from "@kenpin/inspector";
import type { Thresholds } from "@kenpin/schema";

type JudgedFrame = { label: "good" | "bad"; bytes: () => Promise<Uint8Array> };
type PixelMap = { values: Float32Array; width: number; height: number };
export type StageMs = Record<"decode" | "preprocess" | "infer" | "map" | "decide" | "total", number>;
export type Outcome = "pass" | "unknown" | "fail";
export type BundleJudge = {
  provider: string;
  precision: Inspector["precision"];
  /** Forgets what was taught before. */
  teach: (exemplars: readonly JudgedFrame[]) => Promise<void>;
  score: (frame: JudgedFrame) => Promise<number>;
  heat: (frame: JudgedFrame) => Promise<PixelMap>;
  times: (frames: readonly JudgedFrame[], thresholds: Thresholds) => Promise<StageMs[]>;
  close: () => Promise<void>;
};

/** The first frames warm caches and the runtime's memory up. */
const WARM_UP = 3;

/** `keepSights` is worth its disk where a picture is judged under several teachings. */
export async function openJudge(bundleDir: string, { keepSights }: { keepSights: boolean }): Promise<BundleJudge> {
  const sightsDir = keepSights ? await mkdtemp(join(tmpdir(), "kenpin-sights-")) : undefined;
  const forget = async () => {
    if (sightsDir !== undefined) await rm(sightsDir, { recursive: true, force: true });
  };
  const inspector = await startInspector({ bundleDir, sightsDir }).catch(async (error: unknown) => {
    await forget();
    throw error;
  });
  let isTaught = false;
  return {
    provider: inspector.provider,
    precision: inspector.precision,
    teach: async (exemplars) => {
      const frames = await Promise.all(exemplars.map(async ({ label, bytes }) => ({ label, frame: await bytes() })));
      isTaught = (await inspector.teach(frames)).references > 0;
    },
    score: async ({ bytes }) => (await inspector.inspect(await bytes())).inspection.score,
    heat: async ({ bytes }) => {
      const { inspection, heat } = await inspector.heat(await bytes());
      const { width, height } = inspection;
      return { values: enlargeMap(heat, { width, height }), width, height };
    },
    times: async (frames, thresholds) => {
      const bank = isTaught ? await inspector.saveBank() : null;
      const fresh = await startInspector({ bundleDir });
      try {
        if (bank) await fresh.loadBank(bank);
        return await timesOf(fresh, frames, thresholds);
      } finally {
        await fresh.close();
      }
    },
    close: async () => {
      await inspector.close();
      await forget();
    },
  };
}

/** Score ≥ `fail` fails, score < `pass` passes. */
export function outcomeOf(score: number, { pass, fail }: Pick<Thresholds, "pass" | "fail">): Outcome {
  return score >= fail ? "fail" : score < pass ? "pass" : "unknown";
}

async function timesOf(inspector: Inspector, frames: readonly JudgedFrame[], thresholds: Thresholds): Promise<StageMs[]> {
  const times: StageMs[] = [];
  for (const [i, { bytes }] of [...frames.slice(0, WARM_UP), ...frames].entries()) {
    const frame = await bytes();
    const started = performance.now();
    const { inspection } = await inspector.inspect(frame);
    const inspected = performance.now();
    outcomeOf(inspection.score, thresholds);
    const decided = performance.now();
    const { decode, preprocess, infer, map } = inspection.ms;
    if (i >= WARM_UP) times.push({ decode, preprocess, infer, map, decide: decided - inspected, total: decided - started });
  }
  return times;
}
