/**
 * Which model a retraining ships, and in how many bits: the student where it stands in for its teacher, 8 bits where they cost
 * next to nothing. In: the weights' folders of teacher and student, and the frames both learned from. Out: a bundle's files,
 * and why these. Held-out frames have no say here, or they could not judge what is shipped.
 */
import { copyFile, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { PartWords } from "@kenpin/schema";
import { stageBundle } from "./bundle/stage.ts";
import { alignScores } from "./evaluate/align-scores.ts";
import { type HeldOutFrame, scoreFrames } from "./evaluate/score-frames.ts";
import { passGate } from "./evaluate/student-gate.ts";
import { judgingInputs } from "./judging-inputs.ts";
import { quantizeModel } from "./quantize/quantize-model.ts";
import { goldenPictures } from "./samples/pictures.ts";
import { readWeightsFolder, writeWeightsFolder } from "./weights-folder.ts";

type Choosing = {
  words: PartWords;
  seed: number;
  runDir: string;
  learn: readonly HeldOutFrame[];
  say: (stage: string, step: number, steps: number) => void;
};
type Candidate = Awaited<ReturnType<typeof stage>>;

const CALIBRATION_FRAMES = 32;
/** Fewer would have the gate decide by chance: the drops it allows are of a few pairs of pictures. */
const JUDGED = 400;

export async function chooseBundle([teacherDir, studentDir]: string[], choosing: Choosing) {
  const { learn, say } = choosing;
  say("staging the bundle", 0, 3);
  const teacher = await stage("teacher", teacherDir as string, choosing);
  say("staging the bundle", 1, 3);
  const student = await stageAligned(teacher, studentDir as string, choosing);
  const { passed: shipped, ...gate } = await passGate({ teacher, student }, learn, (done, of) =>
    say("comparing student and teacher", done, of),
  );
  const float = shipped ? student : teacher;
  const { bundle, figures: int8 } = await inEightBits(float, choosing);
  const parameters = { teacher: teacher.manifest.parameters, student: student.manifest.parameters };
  return { ...(bundle ?? float), compared: { student: { shipped, ...gate, parameters }, int8 } };
}

async function stage(name: string, modelDir: string, { words, seed, runDir }: Choosing, int8Graph?: string) {
  const stagedDir = join(runDir, "candidates", name);
  await rm(stagedDir, { recursive: true, force: true });
  await mkdir(stagedDir, { recursive: true });
  const golden = await goldenPictures(seed);
  const manifest = await stageBundle({ modelDir, words, golden, outDir: stagedDir, ...(int8Graph && { int8Graph }) });
  return { modelDir, stagedDir, manifest };
}

/** The student with its scores laid over its teacher's. */
async function stageAligned(teacher: Candidate, modelDir: string, choosing: Choosing): Promise<Candidate> {
  const raw = await stage("student", modelDir, choosing);
  const ignore = () => undefined;
  const { scale, shift } = alignScores(await scoreFrames(teacher, choosing.learn, ignore), await scoreFrames(raw, choosing.learn, ignore));
  const { textScale, textBias } = raw.manifest.scoring;
  const scoring = { ...raw.manifest.scoring, textScale: textScale * scale, textBias: textBias * scale + shift };
  await writeWeightsFolder(modelDir, { ...(await readWeightsFolder(modelDir)), scoring });
  choosing.say("staging the bundle", 2, 3);
  return stage("student", modelDir, choosing);
}

/**
 * Calibrated on the site's own frames. Seven bits of each weight are used: on processors without VNNI eight can saturate, and
 * one bundle serves a whole fleet.
 */
async function inEightBits({ modelDir }: Candidate, choosing: Choosing) {
  const { runDir, learn, say } = choosing;
  const [calibration, out] = [join(runDir, "candidates/calibration"), join(runDir, "candidates/int8")];
  await Promise.all([calibration, out].map((dir) => rm(dir, { recursive: true, force: true })));
  await mkdir(calibration, { recursive: true });
  // Pictures are told by their bytes; the name only says that they are pictures.
  for (const [i, { file }] of learn.slice(0, CALIBRATION_FRAMES).entries()) await copyFile(file, join(calibration, `${i}.png`));
  say("8 bits", 0, 1);
  const { vision, shortfalls } = await quantizeModel({
    ...judgingInputs(JUDGED),
    model: modelDir,
    out,
    scheme: "int8-dynamic",
    towers: ["vision"],
    calibration,
    weights: { type: "int8", bits: 7 },
    images: CALIBRATION_FRAMES,
    budget: { evaluations: 6, target: 0.997, sizeRatio: 0.3 },
    onProgress: () => undefined,
  });
  await rm(calibration, { recursive: true });
  const shipped = shortfalls.length === 0;
  const { cosine, bytes, ms } = vision;
  const figures = { shipped, shortfalls, cosine: cosine.imageMean, bytesRatio: bytes.ratio, tileMs: ms };
  return { bundle: shipped ? await stage("eight-bits", modelDir, choosing, join(out, "vision.onnx")) : null, figures };
}
