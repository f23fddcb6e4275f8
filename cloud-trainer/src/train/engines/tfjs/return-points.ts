/**
 * What a stage can go back to: weights, optimizer and moving average together with the loop's own state, in the checkpoints
 * of a run folder, or in memory where there is none.
 * Nothing is saved that is not finite, and nothing is gone back to that was saved while the loss was rising.
 */
import type { Tensor as PlainTensor } from "@kenpin/clip";
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import { z } from "zod";
import type { Found, PassedOver, RunFolder } from "../../run-folder.ts";
import type { Tf } from "./backend.ts";
import type { Weights } from "./layers.ts";
import { Machine } from "./machine.ts";
import type { Optimizer } from "./optimizer.ts";
import { StabilityState } from "./stability.ts";
import type { WeightAverage } from "./weight-average.ts";
import { toTensors } from "./weights.ts";

const Count = z.int().min(0);
export const LoopState = z.strictObject({
  /** Number of the next batch to draw. */
  draw: Count,
  samplesSeen: Count,
  seconds: z.number().min(0),
  skipped: Count,
  rollbacks: Count,
  stability: StabilityState,
  machine: Machine,
});
export type LoopState = z.infer<typeof LoopState>;

export type Trained = { tf: Tf; weights: Weights; optimizer: Optimizer; average: WeightAverage | null };
type ReturnPoint = { step: number; state: LoopState };
export type ReturnPoints = {
  /** null once it is saved, or why it cannot be: which number is not finite. */
  save: (point: ReturnPoint & { steady: boolean }) => Promise<string | null>;
  /** The newest point of an earlier process, its weights put in place; null where there is none. */
  resume: () => Promise<{ point: ReturnPoint | null; passedOver: PassedOver[] }>;
  /** `depth` steady points back, its weights put in place. */
  goBack: (depth: number) => Promise<{ point: ReturnPoint; passedOver: PassedOver[] }>;
};

const FILES = ["model.safetensors", "optimizer.safetensors", "average.safetensors"] as const;
type Tensors = ReadonlyMap<string, ReadonlyMap<string, PlainTensor>>;

export function pointsOnDisk(trained: Trained, folder: RunFolder): ReturnPoints {
  const place = ({ checkpoint, passedOver }: Found) => {
    if (!checkpoint) return { point: null, passedOver };
    const state = parseAtDoor(LoopState, checkpoint.state, `state.json of step ${checkpoint.step}`);
    putBack(trained, checkpoint.tensors);
    return { point: { step: checkpoint.step, state }, passedOver };
  };
  return {
    save: async ({ step, state, steady }) => {
      try {
        await folder.save({ step, state, steady, tensors: finiteTensors(trained) });
        return null;
      } catch (error) {
        if (error instanceof KenpinError && error.code === NOT_FINITE) return error.message;
        throw error;
      }
    },
    resume: async () => place(await folder.resume()),
    goBack: async (depth) => {
      const { point, passedOver } = place(await folder.goBack(depth));
      if (!point)
        throw new KenpinError("checkpoint-broken", `no checkpoint in ${folder.dir} is whole; start this stage anew in an empty folder`);
      return { point, passedOver };
    },
  };
}

/** The last two steady points: enough for the one before the last, should the last already have been damaged. */
const KEPT_IN_MEMORY = 2;

export function pointsInMemory(trained: Trained): ReturnPoints {
  const kept: (ReturnPoint & { tensors: Tensors })[] = [];
  return {
    save: async ({ step, state, steady }) => {
      const tensors = new Map<string, ReadonlyMap<string, PlainTensor>>();
      for (const [file, read] of finiteTensors(trained)) {
        try {
          tensors.set(file, read());
        } catch (error) {
          return (error as Error).message;
        }
      }
      if (!steady && kept.length > 0) return null;
      kept.unshift({ step, state, tensors });
      kept.splice(KEPT_IN_MEMORY);
      return null;
    },
    resume: async () => ({ point: null, passedOver: [] }),
    goBack: async (depth) => {
      kept.splice(0, Math.min(depth, kept.length - 1));
      const point = kept[0] as (typeof kept)[number]; // the start is always saved
      putBack(trained, point.tensors);
      return { point, passedOver: [] };
    },
  };
}

const NOT_FINITE = "state-not-finite";

function finiteTensors({ weights, optimizer, average }: Trained): ReadonlyMap<string, () => ReadonlyMap<string, PlainTensor>> {
  const checked = (read: () => ReadonlyMap<string, PlainTensor>) => () => {
    const tensors = read();
    for (const [name, { data }] of tensors) {
      const odd = data.find((value) => !Number.isFinite(value));
      if (odd !== undefined) throw new KenpinError(NOT_FINITE, `${name} holds ${odd}`);
    }
    return tensors;
  };
  const files = new Map([
    [FILES[0], checked(() => toTensors(weights))],
    [FILES[1], checked(() => optimizer.state())],
  ] as [string, () => ReadonlyMap<string, PlainTensor>][]);
  if (average)
    files.set(
      FILES[2],
      checked(() => average.state()),
    );
  return files;
}

function putBack({ tf, weights, optimizer, average }: Trained, tensors: Tensors): void {
  const [model, moments, averages] = FILES.map((name) => tensors.get(name));
  const other = [...weights].find(([name, { shape }]) => model?.get(name)?.shape.join() !== shape.join());
  if (!model || !moments || other || (average && !averages)) {
    const what = other
      ? `its weight ${other[0]} is [${model?.get(other[0])?.shape ?? "missing"}], expected [${other[1].shape}]`
      : "a file is missing";
    throw new KenpinError(
      "checkpoint-mismatch",
      `the checkpoint belongs to another recipe: ${what}; use a new folder, or the recipe this folder was begun with`,
    );
  }
  for (const [name, variable] of weights) {
    const { shape, data } = model.get(name) as PlainTensor;
    tf.tidy(() => variable.assign(tf.tensor(data, shape)));
  }
  optimizer.load(moments);
  if (average && averages) average.load(averages);
}
