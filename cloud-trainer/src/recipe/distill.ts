/** The stage `distill`, joined: the model so far teaches a smaller image tower through embeddings stored once. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { createTokenizer, type ModelConfig, modelConfig } from "@kenpin/clip";
import { KenpinError, type StageOf } from "@kenpin/schema";
import { createStudent, studentConfig } from "../distill/student.ts";
import { storedTeacherEmbeds, type TeacherEmbeds } from "../distill/teacher-embeds.ts";
import { type DistillSet, distillBatches, distillSet } from "../samples/distill-set.ts";
import { imageGflops } from "../train/cost.ts";
import { createTeacher } from "../train/engines/tfjs/distill.ts";
import { drawTensors } from "../train/engines/tfjs/weights.ts";
import { readWeightsFolder } from "../weights-folder.ts";
import { counting, type Model, type RunStage, resultOf, type StageContext } from "./stage-context.ts";

/** Views that the teacher embeds at a time. */
const CHUNK = 32;

export const distill: RunStage<StageOf<"distill">> = async (teacher, stage, context) => {
  const { recipe, engine, data, words, setup } = context;
  if (data.frames.length + data.surfaces.length === 0) {
    throw new KenpinError("no-pictures", "the stage distill needs pictures: name a set, or generated surfaces, under data");
  }
  const { config, tensors, provenance } = await begin(teacher, stage.student, recipe.seed);
  const source = {
    config,
    frames: data.frames.map(({ image }) => image),
    surfaces: data.surfaces,
    turn: stage.augmentation.turn,
    defects: stage.syntheticDefects,
  };
  const set = distillSet(source, { views: stage.views, seed: recipe.seed });
  const nothing = new Float32Array();
  const { embeds, good, bad } = engine.storesTeacher
    ? await teach(teacher, set, words, context)
    : { embeds: null, good: nothing, bad: nothing };
  const outcome = await engine.trainDistill({
    ...setup,
    config,
    tensors,
    terms: stage.terms,
    microBatch: stage.microBatch,
    teacher,
    words: { good, bad, texts: words },
    batchAt: distillBatches(set, embeds, { config, size: stage.batch, seed: recipe.seed }),
  });
  const card = { ...teacher.card, provenance: [...teacher.card.provenance, ...provenance] };
  const student = { ...teacher, config, card, tokenLayers: tokenLayersOf(teacher, config) };
  // The teacher looks once at each view, however often the student comes back to it.
  const teacherShare = set.count / Math.max(1, outcome.figures.samplesSeen);
  return resultOf(student, outcome, { trained: imageGflops(config), teacher: imageGflops(teacher.config) * teacherShare });
};

/** The student's start, and whatever of its origin is not its teacher's already. */
async function begin(teacher: Model, { model, weights, start }: StageOf<"distill">["student"], seed: number) {
  if (weights !== undefined) {
    const taught = await readWeightsFolder(weights);
    const config = studentConfig(teacher.config, taught.config);
    const known = new Set(teacher.card.provenance.map(({ name }) => name));
    const provenance = taught.card.provenance.filter(({ name }) => !known.has(name));
    return { config, tensors: createStudent(teacher, config, taught), provenance };
  }
  const config = studentConfig(teacher.config, modelConfig(model as string));
  const from = start === "inherit" ? start : { tensors: drawTensors(config, seed) };
  return { config, tensors: createStudent(teacher, config, from), provenance: [] };
}

/** The blocks that stand at the same share of the depth. */
function tokenLayersOf({ config: { image }, tokenLayers }: Model, { image: { depth } }: ModelConfig): number[] {
  return [...new Set(tokenLayers.map((layer) => Math.max(0, Math.round(((layer + 1) * depth) / image.depth) - 1)))];
}

async function teach(teacher: Model, set: DistillSet, words: StageContext["words"], { dir, tell }: StageContext) {
  const tower = await createTeacher(teacher);
  const { encode } = createTokenizer(teacher.config.text);
  try {
    const embeds = await storedTeacherEmbeds({
      file: join(dir, "teacher.safetensors"),
      key: `${set.digest()} ${digestOf(teacher)}`,
      views: set.count,
      patches: (teacher.config.image.size / teacher.config.image.patch) ** 2,
      embed: async () =>
        embedAll(tower, set, {
          encode,
          dim: teacher.config.embedDim,
          onProgress: (done) => tell(counting("the teacher looks", done, set.count)),
        }),
    });
    return { embeds, good: tower.text(words.good.map(encode)), bad: tower.text(words.bad.map(encode)) };
  } finally {
    tower.dispose();
  }
}

type Embedding = { encode: (text: string) => Int32Array; dim: number; onProgress: (done: number) => void };

function embedAll(
  tower: Awaited<ReturnType<typeof createTeacher>>,
  set: DistillSet,
  { encode, dim, onProgress }: Embedding,
): TeacherEmbeds {
  const parts: { imageEmbeds: Float32Array; patchEmbeds: Float32Array }[] = [];
  for (let from = 0; from < set.count; from += CHUNK) {
    const views = Array.from({ length: Math.min(CHUNK, set.count - from) }, (_, i) => from + i);
    parts.push(tower.image(set.pixelValues(views)));
    onProgress(from + views.length);
  }
  const textEmbeds = set.captions.length > 0 ? tower.text(set.captions.map(encode)) : new Float32Array();
  const joined = (key: "imageEmbeds" | "patchEmbeds") => {
    const out = new Float32Array(parts.reduce((sum, part) => sum + part[key].length, 0));
    let at = 0;
    for (const part of parts) {
      out.set(part[key], at);
      at += part[key].length;
    }
    return out;
  };
  return { dim, imageEmbeds: joined("imageEmbeds"), patchEmbeds: joined("patchEmbeds"), textEmbeds };
}

function digestOf({ tensors }: Model): string {
  const hash = createHash("sha256");
  for (const [name, { data }] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(name).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest("hex");
}
