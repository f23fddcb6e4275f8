/**
 * What the study compares: arms, each a stage of a recipe that differs from the base recipe in one thing, and factors, each a question
 * with the arms that answer it. In: a scale (pictures a run, batches, rates). Out: plain data; recipe.ts makes stages of recipes of it.
 *
 * The base recipe is cloud-trainer/recipes/base-gpu.yaml's for a start from scratch: LAMB, the small batch, no patch dropout, one trust
 * ratio a tensor, contrast over captions and every patch against the words.
 */
import type { ModelConfig } from "@kenpin/clip";
import { imageGflops, textGflops } from "../../cloud-trainer/src/train/cost.ts";

export type Terms = { logits: number; features: number; interactive: number; affinity: number };

export type Arm = {
  id: string;
  stage: "train" | "pretrain" | "distill";
  /** Whose weights it starts from, at that arm's best rate and the same seed; null: drawn at random. */
  from: string | null;
  /** Whose features are predicted or whose embeddings are learned; `gradients`: histograms of the picture's own. */
  teacher: string | null;
  /** The shallower image tower, with blocks of what it starts from. */
  isStudent: boolean;
  samples: number;
  batch: number;
  optimizer: "lamb" | "adamw";
  trustScope: "tensor" | "group";
  patchDropout: { ratio: number; unmaskedTail: number };
  terms: Terms;
  /** Factors of the optimizer's middle rate, each tried with the first seed. */
  rates: number[];
  /** Instead of a sweep of its own: the best rate of this arm. */
  ratesOf: string | null;
  /** Runs with these alone instead of the study's seeds. */
  seeds: number[] | null;
};

export type Factor = { id: string; question: string; reference: string; arms: { id: string; label: string }[] };

export type Scale = {
  /** Pictures that a run of the base recipe sees. */
  samples: number;
  batches: { small: number; large: number };
  rates: { small: number[]; large: number[] };
  config: ModelConfig;
  /** Factors to be run; all of them without it. */
  only: string[] | null;
};

/** EVA's image towers drop half of the patches; FLIP's tail without dropout, here a fifth of the steps. */
const [DROPPED, TAIL] = [0.5, 0.2];
/** Pictures of masked image modelling, and of the teacher's training, as multiples of the base run's. */
const [MASKED_SHARE, TEACHER_SHARE, DISTILL_SHARE] = [0.4, 2, 0.5];
const SHORTER = [
  ["half", 0.5],
  ["quarter", 0.25],
] as const;
const TERMS: Terms = { logits: 1, features: 10, interactive: 0.1, affinity: 0.1 };

export const FACTORS: Factor[] = [
  {
    id: "init",
    question: "Does a start from masked image modelling save compute?",
    reference: "scratch",
    arms: [
      { id: "hog", label: "masked image modelling to HOG" },
      { id: "clip", label: "masked image modelling to CLIP features" },
    ],
  },
  {
    id: "optimizer-small",
    question: "Is LAMB better than AdamW at the small batch?",
    reference: "adamw-small",
    arms: [{ id: "scratch", label: "LAMB, small batch" }],
  },
  {
    id: "optimizer-large",
    question: "Is LAMB better than AdamW at the large batch?",
    reference: "adamw-large",
    arms: [{ id: "lamb-large", label: "LAMB, large batch" }],
  },
  {
    id: "dropout",
    question: "Does patch dropout win at equal compute?",
    reference: "scratch",
    arms: [
      { id: "dropout", label: "half of the patches dropped" },
      { id: "dropout-tail", label: "half dropped, none in the last fifth" },
    ],
  },
  {
    id: "trust",
    question: "Is one trust ratio a parameter group as good as one a tensor?",
    reference: "scratch",
    arms: [{ id: "group", label: "one trust ratio a group" }],
  },
  {
    id: "distill",
    question: "Which terms of distillation earn their place?",
    reference: "distill-all",
    arms: [
      { id: "distill-no-features", label: "without features" },
      { id: "distill-no-contrast", label: "without contrasts" },
      { id: "distill-logits", label: "logits alone" },
      { id: "student-alone", label: "no teacher, captions alone" },
    ],
  },
];

/** In the order in which they are to run: what others wait for first. */
export function armsOf(scale: Scale): Arm[] {
  const { small, large } = scale.batches;
  const base: Omit<Arm, "id"> = {
    stage: "train",
    from: null,
    teacher: null,
    isStudent: false,
    samples: scale.samples,
    batch: small,
    optimizer: "lamb",
    trustScope: "tensor",
    patchDropout: { ratio: 0, unmaskedTail: 0 },
    terms: TERMS,
    rates: scale.rates.small,
    ratesOf: null,
    seeds: null,
  };
  const arm = (id: string, own: Partial<Arm> = {}): Arm => ({ ...base, id, ...own });
  const big = { batch: large, rates: scale.rates.large };
  const masked: Partial<Arm> = { stage: "pretrain", samples: scale.samples * MASKED_SHARE, rates: [1] };
  const dropped = (id: string, unmaskedTail: number) => {
    const kept = 1 - DROPPED * (1 - unmaskedTail);
    return arm(id, { patchDropout: { ratio: DROPPED, unmaskedTail }, samples: (scale.samples * costOf(scale, 1)) / costOf(scale, kept) });
  };
  const shorter = SHORTER.flatMap(([name, share]) =>
    ["scratch", "hog", "clip"].map((id) =>
      arm(`${id}-${name}`, { samples: scale.samples * share, ratesOf: id, from: id === "scratch" ? null : `${id}-pretrain` }),
    ),
  );
  const student = { from: "teacher", isStudent: true, samples: scale.samples * DISTILL_SHARE };
  const taught = (id: string, terms: Partial<Terms>) =>
    arm(id, { ...student, stage: "distill", teacher: "teacher", terms: { ...TERMS, ...terms } });
  const all = [
    arm("teacher", { samples: scale.samples * TEACHER_SHARE, rates: [1], seeds: [101] }),
    arm("hog-pretrain", { ...masked, teacher: "gradients" }),
    arm("clip-pretrain", { ...masked, teacher: "teacher" }),
    arm("scratch"),
    arm("lamb-large", big),
    arm("adamw-large", { ...big, optimizer: "adamw" }),
    arm("adamw-small", { optimizer: "adamw" }),
    arm("hog", { from: "hog-pretrain" }),
    arm("clip", { from: "clip-pretrain" }),
    dropped("dropout", 0),
    dropped("dropout-tail", TAIL),
    arm("group", { trustScope: "group" }),
    taught("distill-all", {}),
    taught("distill-no-features", { features: 0 }),
    taught("distill-no-contrast", { interactive: 0, affinity: 0 }),
    taught("distill-logits", { features: 0, interactive: 0, affinity: 0 }),
    arm("student-alone", student),
    ...shorter,
  ];
  return scale.only === null ? all : needed(all, scale.only);
}

/** Forward GFLOPs of a picture with its caption, some of the patches left. */
export function costOf({ config }: Pick<Scale, "config">, keptRatio: number): number {
  return imageGflops(config, keptRatio) + textGflops(config);
}

/** The arms of these factors and all that they start from or learn from. */
function needed(all: Arm[], factors: string[]): Arm[] {
  const wanted = new Set(
    FACTORS.filter(({ id }) => factors.includes(id)).flatMap(({ reference, arms }) => [reference, ...arms.map(({ id }) => id)]),
  );
  if (factors.includes("init")) for (const { id } of all) if (/-(half|quarter)$/.test(id)) wanted.add(id);
  for (const { id, from, teacher } of [...all].reverse()) {
    if (!wanted.has(id)) continue;
    for (const other of [from, teacher]) if (other !== null) wanted.add(other);
  }
  return all.filter(({ id }) => wanted.has(id));
}
