/**
 * How large the study is on a machine: pictures a run, batches, seeds, rates, engine. `smoke` takes minutes on two cores, `cpu` at most
 * six hours there, `gpu` eight minutes of one card; `toy` shows that all of it runs.
 */
import { type ModelConfig, modelConfig } from "@kenpin/clip";
import { z } from "zod";
import type { Scale } from "./arms.ts";

export const PRESETS = ["smoke", "cpu", "gpu", "toy"] as const;
export const PresetName = z.enum(PRESETS);
export type PresetName = z.infer<typeof PresetName>;

const STUDENT = "kenpin-xs-8";

export type Preset = {
  engine: "tfjs" | "torch";
  model: string;
  student: ModelConfig;
  seeds: number[];
  /** Generated pictures to train on, and to judge by; families in `unseen` are drawn in no training. */
  pictures: { train: number; judged: number };
  unseen: string[];
  /** Families to train on; all the others without it. */
  known: string[] | null;
  scale: Scale;
};

/**
 * What a card can be taught in seconds: smooth materials on which most defects are plain, in pictures of a quarter of the base model's. No
 * family that resembles a real set is among them.
 */
const PLAIN = {
  known: ["brushed", "cast", "wood", "painted", "glass", "ceramic"],
  unseen: ["moulded", "concrete", "machined"],
  sidePx: 40,
};

type Own = Pick<Preset, "seeds" | "pictures"> & {
  known?: string[];
  unseen?: string[];
  sidePx?: number;
  scale: Omit<Scale, "config" | "only"> & { only?: string[] };
};

function preset(engine: Preset["engine"], model: string, { known, unseen, sidePx, scale, ...own }: Own): Preset {
  const sized = (name: string): ModelConfig => {
    const config = modelConfig(name);
    return sidePx === undefined ? config : { ...config, name: `${name}-${sidePx}`, image: { ...config.image, size: sidePx } };
  };
  const config = sized(model);
  return {
    engine,
    model,
    student: sized(STUDENT),
    known: known ?? null,
    unseen: unseen ?? [],
    ...own,
    scale: { only: null, ...scale, config },
  };
}

export function presetOf(name: PresetName): Preset {
  if (name === "gpu") {
    return preset("torch", "kenpin-s-8", {
      ...PLAIN,
      seeds: [1, 2, 3],
      pictures: { train: 180_000, judged: 3000 },
      scale: { samples: 260_000, batches: { small: 500, large: 2000 }, rates: { small: [0.5, 1.5], large: [1, 3] } },
    });
  }
  if (name === "toy") {
    return preset("torch", "kenpin-xs-8", {
      known: ["cast", "wood"],
      unseen: ["moulded"],
      sidePx: 40,
      seeds: [1],
      pictures: { train: 400, judged: 200 },
      scale: { samples: 40, batches: { small: 20, large: 40 }, rates: { small: [1], large: [1] }, only: ["init", "trust"] },
    });
  }
  if (name === "cpu") {
    return preset("tfjs", "kenpin-s-8", {
      seeds: [1, 2, 3],
      pictures: { train: 10_000, judged: 1000 },
      scale: { samples: 20_000, batches: { small: 64, large: 256 }, rates: { small: [0.5, 1.5], large: [1, 3] } },
    });
  }
  return preset("tfjs", "kenpin-xs-8", {
    seeds: [1],
    pictures: { train: 1500, judged: 400 },
    scale: { samples: 4000, batches: { small: 32, large: 128 }, rates: { small: [1], large: [2.5] }, only: ["optimizer-small"] },
  });
}
