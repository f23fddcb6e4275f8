/**
 * A student: an image tower of another size in the teacher's embedding space. The text tower and the logit scale are the
 * teacher's own, to the bit, so words embedded once serve both.
 * `inherit` takes the teacher's first and last block and evenly spaced ones between (TinyCLIP, arXiv 2309.12314).
 */
import { type ModelConfig, type Tensor, tensorShapes } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";

export type Model = { config: ModelConfig; tensors: ReadonlyMap<string, Tensor> };

export type StudentStart = "inherit" | { tensors: ReadonlyMap<string, Tensor> };

export function createStudent(teacher: Model, config: ModelConfig, start: StudentStart): Map<string, Tensor> {
  refuseStrangers(teacher.config, config);
  const image = start === "inherit" ? inherited(teacher, config) : start.tensors;
  const tensors = new Map<string, Tensor>();
  for (const name of tensorShapes(config).keys()) {
    const found = (name.startsWith("visual.") ? image : teacher.tensors).get(name) as Tensor;
    tensors.set(name, { shape: found.shape, data: found.data.slice() });
  }
  return tensors;
}

/** The student's configuration with the teacher's text tower, preprocessing and embedding width. */
export function studentConfig(teacher: ModelConfig, own: ModelConfig): ModelConfig {
  return { ...own, text: teacher.text, embedDim: teacher.embedDim, preprocess: teacher.preprocess };
}

function refuseStrangers({ image: from }: ModelConfig, { name, image }: ModelConfig): void {
  if (image.size === from.size && image.patch === from.patch) return;
  throw new KenpinError(
    "student-mismatch",
    `the student ${name} sees ${image.size} pixels in patches of ${image.patch}, its teacher ${from.size} in ${from.patch}; patch features can only be taught patch by patch: choose a student of the same input`,
  );
}

function inherited({ config: from, tensors }: Model, config: ModelConfig): Map<string, Tensor> {
  const { width, depth, headDim, mlpHidden } = config.image;
  if (width !== from.image.width || headDim !== from.image.headDim || mlpHidden !== from.image.mlpHidden || depth > from.image.depth) {
    throw new KenpinError(
      "student-mismatch",
      `${config.name} cannot inherit blocks of ${from.name}: both need the same width, head dim and hidden width, and the student no more blocks; say start: scratch`,
    );
  }
  const named = [...tensorShapes(config).keys()].filter((name) => name.startsWith("visual."));
  return new Map(named.map((name) => [name, tensors.get(name.replace(/blocks\.(\d+)\./, sourceBlock)) as Tensor]));

  function sourceBlock(_: string, block: string): string {
    return `blocks.${inheritedBlock(Number(block), depth, from.image.depth)}.`;
  }
}

export function inheritedBlock(block: number, depth: number, teacherDepth: number): number {
  return depth === 1 ? teacherDepth - 1 : Math.round((block * (teacherDepth - 1)) / (depth - 1));
}
