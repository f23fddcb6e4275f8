/**
 * How large the study is on a machine: pictures a run, batches, seeds, rates, engine. `smoke` takes minutes on two cores, `cpu` at most
 * six hours there, `gpu` nine minutes of one card; `trial` finds the middle of the rates on the card.
 */
import { modelConfig } from "@kenpin/clip";
import { z } from "zod";
import type { Scale } from "./arms.ts";

export const PRESETS = ["smoke", "cpu", "gpu", "trial", "toy"] as const;
export const PresetName = z.enum(PRESETS);
export type PresetName = z.infer<typeof PresetName>;

export type Preset = {
  engine: "tfjs" | "torch";
  model: string;
  student: string;
  seeds: number[];
  /** Generated pictures to train on, and to judge by; families in `unseen` are drawn in no training. */
  pictures: { train: number; judged: number };
  unseen: string[];
  /** Families to train on; all the others without it. */
  known: string[] | null;
  scale: Scale;
};

/** One of each kind: fabric, coating, metal, grain, drawn parts. Of two that resemble a real set neither is among them. */
const UNSEEN = ["knitted", "glass", "machined", "granular", "circuit"];

const preset = (
  engine: Preset["engine"],
  model: string,
  own: Omit<Preset, "engine" | "model" | "student" | "scale" | "unseen" | "known"> & { known?: string[] } & {
    scale: Omit<Scale, "config" | "only"> & { only?: string[] };
  },
): Preset => ({
  engine,
  model,
  student: "kenpin-xs-8",
  unseen: engine === "torch" ? UNSEEN : [],
  known: null,
  ...own,
  scale: { only: null, ...own.scale, config: modelConfig(model) },
});

const THREE = [0.4, 1, 2.5];

export function presetOf(name: PresetName): Preset {
  if (name === "gpu") {
    return preset("torch", "kenpin-s-8", {
      seeds: [1, 2, 3],
      pictures: { train: 90_000, judged: 4000 },
      scale: { samples: 110_000, batches: { small: 250, large: 2000 }, rates: { small: THREE, large: [1, 2.5, 6.25] } },
    });
  }
  if (name === "trial") {
    const wide = [0.16, 0.4, 1, 2.5, 6.25];
    return preset("torch", "kenpin-s-8", {
      seeds: [1],
      pictures: { train: 30_000, judged: 3000 },
      scale: { samples: 30_000, batches: { small: 250, large: 2000 }, rates: { small: wide, large: wide } },
    });
  }
  if (name === "toy") {
    return preset("torch", "kenpin-xs-8", {
      seeds: [1, 2],
      known: ["cast", "wood"],
      pictures: { train: 400, judged: 200 },
      scale: {
        samples: 80,
        batches: { small: 20, large: 40 },
        rates: { small: [0.4, 1], large: [0.4, 1] },
        only: ["init", "trust", "distill", "dropout"],
      },
    });
  }
  if (name === "cpu") {
    return preset("tfjs", "kenpin-xs-8", {
      seeds: [1, 2, 3],
      pictures: { train: 20_000, judged: 2000 },
      scale: { samples: 30_000, batches: { small: 64, large: 512 }, rates: { small: THREE, large: [1, 2.5, 6.25] } },
    });
  }
  return preset("tfjs", "kenpin-xs-8", {
    seeds: [1],
    pictures: { train: 1500, judged: 400 },
    scale: { samples: 2000, batches: { small: 32, large: 128 }, rates: { small: [1], large: [2.5] }, only: ["init"] },
  });
}
