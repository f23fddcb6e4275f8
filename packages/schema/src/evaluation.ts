/**
 * What `kenpin evaluate --json` prints: how well a bundle tells good from defective on pictures it has not learned from, what it
 * costs in time, and what a plain opponent reaches on the same pictures. Rates and areas lie in [0, 1], times are milliseconds.
 * With several seeds every figure is the mean over the seeds, and `standardErrors` has the same keys. A figure that the pictures
 * cannot give (no mask, one label only, one seed) is null, never 0.
 */
import { z } from "zod";
import { Milliseconds, Probability, Sha256, Timestamp } from "./primitives.ts";

export const EVALUATION_FORMAT = 1;

const Figure = Probability.nullable();
const Count = z.int().min(0);
const Text = z.string().max(2000);
const Key = z.string().min(1).max(4096);
/** English and Japanese, for whoever reads it. */
const Sentence = z.strictObject({ en: Text, ja: Text });

export const ImageFigures = z.strictObject({
  auroc: Figure,
  averagePrecision: Figure,
  /** At the best threshold, which nobody knows beforehand. */
  f1Max: Figure,
  /** The next three at `protocol.cut`. */
  accuracy: Figure,
  /** Share of the defective that pass. */
  escapeRate: Figure,
  /** Share of the good that fail. */
  overkillRate: Figure,
});
export type ImageFigures = z.infer<typeof ImageFigures>;

const PixelFigures = z.strictObject({
  auroc: Figure,
  /** Per-region overlap to a false positive rate of 0.3. */
  aupro: Figure,
  /** Pictures with a mask, and defective regions in them. */
  pictures: Count,
  regions: Count,
});

/** Prediction sets {good}, {defective}, both or none that hold the truth at least (1 − alpha) of the time for either label. */
const Coverage = z.strictObject({ overall: Figure, good: Figure, defective: Figure });

const Spread = z.strictObject({ p50: Milliseconds, p95: Milliseconds });
const Interval = z.strictObject({ low: z.number(), high: z.number() });
const Rate = z.strictObject({ value: Figure, of: Count, low: Probability, high: Probability });

const STANDARD_ERROR = z.number().min(0).nullable();
const ErrorsOfImage = z.strictObject({
  auroc: STANDARD_ERROR,
  averagePrecision: STANDARD_ERROR,
  f1Max: STANDARD_ERROR,
  accuracy: STANDARD_ERROR,
  escapeRate: STANDARD_ERROR,
  overkillRate: STANDARD_ERROR,
});

/** One way of deciding beside the model: figures on the very same pictures. */
const Opponent = z.strictObject({
  image: ImageFigures,
  standardErrors: z.strictObject({ image: ErrorsOfImage }).nullable(),
  how: Sentence,
});

export const EvaluationProtocol = z.strictObject({
  /** words: nothing was taught; references: good pictures only; fewshot: good and defective exemplars. */
  name: z.enum(["words", "references", "fewshot"]),
  /** Pictures of both labels together, as asked for and as the set allowed. */
  asked: z.strictObject({ references: Count, exemplars: Count, calibration: Count, test: Count.nullable() }),
  used: z.strictObject({ references: Count, exemplars: Count, calibration: Count, test: Count, testGood: Count, testDefective: Count }),
  seeds: z.array(z.int().min(0)).min(1).max(1000),
  retrained: z.boolean(),
  cut: Probability,
  /** How `coverage` was calibrated. */
  coverageBy: z.enum(["calibration-split", "leave-one-out"]),
  alpha: Probability,
  /** What deviates from what was asked for. */
  notes: z.array(Sentence).max(20),
});
export type EvaluationProtocol = z.infer<typeof EvaluationProtocol>;

export const EvaluationSlice = z.strictObject({
  /** "brightness", or a column of the table of slices. */
  column: z.string().min(1).max(200),
  slices: z
    .array(z.strictObject({ value: z.string().max(200), auroc: Figure, accuracy: Rate, escapeRate: Rate, overkillRate: Rate }))
    .max(1000),
  /** The largest difference between one slice and all others together; its interval allows for all that were looked at. */
  worstGap: z
    .strictObject({
      rate: z.enum(["escapeRate", "overkillRate"]),
      value: z.string().max(200),
      gap: z.number().min(-1).max(1),
      interval: Interval,
      level: Probability,
      comparisons: Count,
      beyondChance: z.boolean(),
    })
    .nullable(),
  sentence: Sentence,
});
export type EvaluationSlice = z.infer<typeof EvaluationSlice>;

const DataFinding = z.strictObject({
  kind: z.string().max(100),
  severity: z.enum(["error", "warning"]),
  pictures: z.array(z.string().max(4096)).max(100),
  count: Count,
  message: Text,
  advice: Text,
});

/** One picture's verdict, its scores meant over the seeds that judged it. */
const JudgedPicture = z.strictObject({ picture: Key, kind: z.string().max(200), score: Probability, judged: Count });

const SeedFigures = z.strictObject({
  seed: z.int().min(0),
  image: ImageFigures,
  coverage: Coverage,
  calibrationError: Figure,
  baseline: z.strictObject({ image: ImageFigures }).nullable(),
});

export const Evaluation = z.strictObject({
  format: z.literal(EVALUATION_FORMAT),
  createdAt: Timestamp,
  bundle: z.strictObject({
    name: z.string().max(200),
    /** Of manifest.json, or of model.safetensors where a folder of weights was staged for this. */
    sha256: Sha256,
    kind: z.enum(["bundle", "folder", "weights"]),
    good: z.array(z.string()).max(512),
    bad: z.array(z.string()).max(512),
  }),
  model: z.strictObject({ parameters: Count, precision: z.enum(["fp32", "fp16", "int8"]), provider: z.string().max(100) }),
  data: z.strictObject({
    name: z.string().max(200),
    sha256: Sha256,
    good: Count,
    defective: Count,
    /** Pictures of each kind of defect. */
    kinds: z.record(z.string().max(200), Count),
    leftOut: z.array(z.strictObject({ picture: Key, why: Text })).max(1000),
  }),
  protocol: EvaluationProtocol,
  image: ImageFigures,
  pixel: PixelFigures.nullable(),
  coverage: Coverage,
  /** Share of sets with exactly one label: what is decided without a person. */
  decidedRatio: Figure,
  /** Expected calibration error over ten even bins; over ten adaptive ones; and the mean squared error. */
  calibrationError: Figure,
  adaptiveCalibrationError: Figure,
  brier: Figure,
  /** Between the bundle's two thresholds: left to a person. */
  undecidedRate: z.strictObject({ good: Figure, defective: Figure }),
  latencyMs: z.strictObject({ decode: Spread, preprocess: Spread, infer: Spread, map: Spread, decide: Spread, total: Spread }),
  baseline: Opponent.nullable(),
  /** The same architecture with random weights; null where it was not asked for. */
  randomWeights: Opponent.nullable(),
  /** Null with one seed. */
  standardErrors: z
    .strictObject({
      image: ErrorsOfImage,
      coverage: z.strictObject({ overall: STANDARD_ERROR, good: STANDARD_ERROR, defective: STANDARD_ERROR }),
      calibrationError: STANDARD_ERROR,
    })
    .nullable(),
  /** 95 % over the test pictures of one seed: exact for rates, bootstrapped for areas; null with several seeds. */
  intervals: z
    .strictObject({ image: z.partialRecord(z.enum(["auroc", "averagePrecision", "accuracy", "escapeRate", "overkillRate"]), Interval) })
    .nullable(),
  seeds: z.array(SeedFigures).max(1000),
  /** By kind of defect against all good test pictures. */
  kinds: z.array(z.strictObject({ kind: z.string().max(200), pictures: Count, auroc: Figure, escapeRate: Figure })).max(1000),
  /** From the laxest to the strictest threshold, all seeds pooled; at most 200 points. */
  tradeOff: z.array(z.strictObject({ threshold: z.number(), escapeRate: Probability, overkillRate: Probability })).max(200),
  /** The farthest on the wrong side of the cut first. */
  escapes: z.array(JudgedPicture).max(50),
  overkills: z.array(JudgedPicture).max(50),
  slices: z.array(EvaluationSlice).max(100),
  findings: z.array(DataFinding).max(100),
  seconds: z.number().min(0),
  machine: z.strictObject({ processor: z.string().max(200), cores: Count }),
});
export type Evaluation = z.infer<typeof Evaluation>;
