/**
 * A recipe: one YAML file says everything about a training run. It is the same file for every engine.
 * Defaults are the paper's (EVA-CLIP, arXiv 2303.15389) and its released scripts' for a base-sized model; what a small
 * machine needs instead stands in the ready recipes, where a reader sees it.
 */
import { z } from "zod";

const Seed = z.int().min(0).max(0xffff_ffff);
const Folder = z.string().min(1).max(4096);
const Share = z.number().min(0).max(1);
const Weight = z.number().min(0).max(1e4);
const PerTower = (image: number, text: number) =>
  z.strictObject({ image: z.number().min(0).max(1).default(image), text: z.number().min(0).max(1).default(text) });

export const OptimizerRecipe = z.strictObject({
  name: z.enum(["lamb", "adamw"]).default("lamb"),
  beta1: z.number().min(0).lt(1).default(0.9),
  /** The paper's table; the released scripts leave 0.999. */
  beta2: z.number().min(0).lt(1).default(0.98),
  eps: z.number().positive().max(1).default(1e-6),
  weightDecay: z.number().min(0).max(10).default(0.05),
  /** Largest global norm of the gradients; LAMB's own clip is set to it, or a default of 1 would act instead. */
  clipNorm: z.number().positive().default(5),
  /** One trust ratio a tensor, or one a parameter group, as flattened shards (ZeRO stage 1) had in the published runs. */
  trustScope: z.enum(["tensor", "group"]).default("tensor"),
  rates: z
    .strictObject({
      image: z.number().min(0).max(10).default(2e-4),
      text: z.number().min(0).max(10).default(2e-5),
      other: z.number().min(0).max(10).default(5e-4),
    })
    .prefault({}),
  layerDecay: PerTower(0.75, 0.75).prefault({}),
  /** Norms, biases and positions take this share of their tower's rate: LAMB gives them no trust ratio. */
  plainShare: Share.default(1),
  warmup: z.int().min(0).default(2000).describe("steps of linear warm-up"),
  floor: Share.default(0).describe("share of the peak rate that the cosine ends at"),
  /** Decay of the moving average of the weights that the run ends with; null takes the last weights. */
  average: z.number().min(0).lt(1).nullable().default(null),
});
export type OptimizerRecipe = z.infer<typeof OptimizerRecipe>;

export const StabilityRecipe = z.strictObject({
  window: z.int().min(8).max(10_000).default(64).describe("accepted steps that a new one is compared with"),
  lossDeviations: z.number().positive().default(10).describe("a loss this many robust deviations above the median is a spike"),
  normFactor: z.number().min(1).default(20).describe("so is a gradient this many times the median norm"),
  skipsBeforeRollback: z.int().min(1).default(5),
  rateAfterRollback: z.number().positive().max(1).default(0.5),
  maxRollbacks: z.int().min(0).default(3),
});
export type StabilityRecipe = z.infer<typeof StabilityRecipe>;

/** What pictures a stage sees; generated surfaces need no data at all. */
export const DataRecipe = z.strictObject({
  generated: z
    .strictObject({
      surfaces: z.int().min(64).max(10_000_000),
      seed: Seed.default(1),
      /** `device`: drawn where it trains, in episodes with good references; the stage `train` on the engine torch alone. */
      on: z.enum(["host", "device"]).default("host"),
      /** Families left out on the device, for instance those that resemble a set kept for measuring. */
      without: z.array(z.string().min(1).max(64)).max(64).default([]),
    })
    .refine(({ on, without }) => on === "device" || without.length === 0, "`without` is for surfaces drawn `on: device`")
    .nullable()
    .default(null),
  /** Folders in MVTec layout, WebDataset shards, CSV files with captions; relative to the recipe. */
  sets: z.array(Folder).max(64).default([]),
});
export type DataRecipe = z.infer<typeof DataRecipe>;

/** Patches dropped at random (FLIP, arXiv 2212.00794), but not in the last share of the steps. */
export const PatchDropoutRecipe = z.strictObject({ ratio: z.number().min(0).max(0.9).default(0), unmaskedTail: Share.default(0) });

/** Which ways up a part may lie, and how much of light and framing may change. */
export const AugmentationRecipe = z.strictObject({
  crop: z.tuple([z.number().positive().max(1), z.number().positive().max(1)]).default([0.9, 1]),
  flip: z.boolean().default(false),
  turn: z.boolean().default(false),
  photometric: Share.default(0.1),
});
export type AugmentationRecipe = z.infer<typeof AugmentationRecipe>;

const everyStage = {
  /** One of the two: a number of steps repeats to the bit, a time budget fits a shift. */
  steps: z.int().min(1).max(10_000_000).optional(),
  seconds: z.number().min(1).max(31_536_000).optional(),
  batch: z.int().min(2).max(1_048_576).default(128),
  data: DataRecipe.prefault({}),
  optimizer: OptimizerRecipe.prefault({}),
  stability: StabilityRecipe.prefault({}),
  augmentation: AugmentationRecipe.prefault({}),
  checkpointEvery: z.int().min(1).default(200),
  /** Makes each block's activations again in the backward pass: less memory, a third more products. */
  recompute: z.boolean().default(false),
};

/** EVA's masked image modelling: the image tower predicts a CLIP tower's features where blocks of patches are masked. */
export const PretrainStage = z.strictObject({
  stage: z.literal("pretrain"),
  ...everyStage,
  /** Weights' folder of the tower whose features are predicted; null takes the run's own start. */
  teacher: Folder.nullable().default(null),
  /** Features of a CLIP tower are EVA's idea; the other two are there to compare with. */
  target: z.enum(["clip", "hog", "pixels"]).default("clip"),
  maskRatio: z.number().positive().max(0.9).default(0.41),
});

/** Contrastive training of both towers on pictures with captions. */
export const TrainStage = z.strictObject({
  stage: z.literal("train"),
  ...everyStage,
  loss: z.enum(["clip", "siglip"]).default("clip"),
  /** Pictures embedded at a time; below the batch, the gradient cache makes the whole batch's exact gradient of them. */
  microBatch: z.int().min(2).nullable().default(null),
  patchDropout: PatchDropoutRecipe.prefault({}),
  /** Weight of the loss that holds each patch against the words, where masks are known (generated surfaces). */
  patchLoss: Weight.default(2),
  /** Weight of the loss that makes the memory bank tell, by an episode's good references; surfaces drawn on the device have them. */
  referenceLoss: Weight.default(0),
});

/** A site's own labelled frames; the text tower stays as it is. */
export const TuneStage = z.strictObject({
  stage: z.literal("tune"),
  ...everyStage,
  /** Crops with synthetic defects, generated surfaces against forgetting, and whole frames, in one batch. */
  sizes: z
    .strictObject({
      crops: z.int().min(0).max(4096).default(16),
      replay: z.int().min(0).max(4096).default(8),
      frames: z.int().min(2).max(4096).default(6),
    })
    .prefault({}),
  replaySurfaces: z.int().min(64).max(1_000_000).default(1500),
  /**
   * How much wrong labels are tolerated: the exponent q of the generalized cross-entropy (arXiv 1805.07836); 0 is plain
   * cross-entropy, 1 the mean absolute error.
   */
  noiseTolerance: Share.default(0.3),
});

/** A smaller image tower in the teacher's embedding space, so that the teacher's text tower serves it. */
export const DistillStage = z.strictObject({
  stage: z.literal("distill"),
  ...everyStage,
  student: z
    .strictObject({
      /** Name of a model configuration; its embedding width must be the teacher's. */
      model: z.string().min(1).max(64).optional(),
      /** A weights' folder whose image tower goes on learning: a student that was taught before. */
      weights: Folder.optional(),
      /** `inherit` starts from the teacher's first block, last block and evenly spaced ones between (TinyCLIP, arXiv 2309.12314). */
      start: z.enum(["inherit", "scratch"]).default("inherit"),
    })
    .refine(({ model, weights }) => (model === undefined) !== (weights === undefined), "a student is either a `model` or `weights`"),
  /** Views of each picture whose teacher embeddings are stored once, beside the run (MobileCLIP, arXiv 2311.17049). */
  views: z.int().min(1).max(64).default(2),
  /** Share of the views of frames that get a synthetic defect. */
  syntheticDefects: Share.default(0),
  /** Pictures looked at a time; below the batch, the terms between pictures are still the whole batch's, exactly. */
  microBatch: z.int().min(2).nullable().default(null),
  /** CLIP-KD weighs its features' error far above the rest; contrasts at a logit scale of 100 are large as they are. */
  terms: z
    .strictObject({
      logits: Weight.default(1),
      features: Weight.default(10),
      interactive: Weight.default(0.1),
      affinity: Weight.default(0.1),
    })
    .prefault({}),
});

const Stage = z
  .discriminatedUnion("stage", [PretrainStage, TrainStage, TuneStage, DistillStage])
  .refine(({ steps, seconds }) => (steps === undefined) !== (seconds === undefined), "a stage lasts either `steps` or `seconds`")
  .refine(
    (stage) => !("microBatch" in stage) || stage.microBatch === null || stage.batch % stage.microBatch === 0,
    "`batch` must be a multiple of `microBatch`",
  )
  .refine(
    ({ stage, data: { generated, sets } }) => generated?.on !== "device" || (stage === "train" && sets.length === 0),
    "surfaces are drawn `on: device` in the stage train alone, and with no other set",
  )
  .refine(
    (stage) => !("referenceLoss" in stage) || stage.referenceLoss === 0 || stage.data.generated?.on === "device",
    "`referenceLoss` needs surfaces drawn `on: device`",
  )
  .refine(
    (stage) => !("referenceLoss" in stage) || stage.referenceLoss === 0 || (stage.patchLoss > 0 && stage.microBatch === null),
    "`referenceLoss` goes with `patchLoss`, and takes the batch whole: no `microBatch`",
  )
  .refine((stage) => stage.augmentation.crop[0] <= stage.augmentation.crop[1], "`crop` goes from the smaller share to the larger");
export type Stage = z.infer<typeof Stage>;
export type StageOf<Name extends Stage["stage"]> = Extract<Stage, { stage: Name }>;

export const Recipe = z
  .strictObject({
    name: z.string().min(1).max(100),
    /** Of the weights that come out, for the record of licences. */
    licence: z.string().min(1).max(200).default("as the data it was trained on"),
    /** `tfjs` trains on this machine's processor; `torch` in Python, on GPUs where there are any (kenpin engine install torch). */
    engine: z.enum(["tfjs", "torch"]).default("tfjs"),
    torch: z
      .strictObject({
        /** Of products and activations; sums, norms, weights and moments are float32 in either case. */
        precision: z.enum(["bf16", "float32"]).default("bf16"),
        compile: z.boolean().default(true).describe("on a GPU: compiled kernels, which take a minute to begin"),
      })
      .prefault({}),
    seed: Seed.default(1),
    /**
     * Name of a model configuration to draw afresh, or a weights' folder to go on from. A drawn model may take its towers from
     * files of their own: the image tower from masked image modelling or a finished CLIP, the text tower from any CLIP.
     */
    start: z
      .strictObject({
        model: z.string().min(1).max(64).optional(),
        weights: Folder.optional(),
        image: z
          .strictObject({
            file: Folder,
            kind: z.enum(["masked-image-modelling", "clip"]).default("masked-image-modelling"),
            licence: z.string().min(1).max(200),
          })
          .optional(),
        text: z.strictObject({ file: Folder, licence: z.string().min(1).max(200) }).optional(),
      })
      .refine(({ model, weights }) => (model === undefined) !== (weights === undefined), "a run starts from either `model` or `weights`")
      .refine(
        ({ weights, image, text }) => weights === undefined || (!image && !text),
        "`weights` has both towers; name a `model` instead",
      ),
    /** The words patches and frames are held against; the base model's own without them. */
    words: z
      .strictObject({ good: z.array(z.string().min(1).max(300)).min(1).max(256), bad: z.array(z.string().min(1).max(300)).min(1).max(256) })
      .optional(),
    stages: z.array(Stage).min(1).max(16),
    memoryLimitMb: z
      .int()
      .min(256)
      .nullable()
      .default(null)
      .describe("resident memory at which the trainer makes a checkpoint and starts anew"),
  })
  .refine(
    ({ engine, stages }) => engine === "torch" || stages.every(({ data: { generated } }) => generated?.on !== "device"),
    "surfaces drawn `on: device` need `engine: torch`",
  );
export type Recipe = z.infer<typeof Recipe>;
