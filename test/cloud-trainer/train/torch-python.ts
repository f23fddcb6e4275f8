/** Whether the engine torch can run here, and why not: as `kenpin engine install torch` left it, or as KENPIN_PYTHON names it. */
import { interpreter, lookAtPython } from "../../../cloud-trainer/src/train/engines/torch/python.ts";

export const python = interpreter();
/** For `test`'s option `skip`. */
export const skip: string | false = await lookAtPython(python).then(
  () => false as const,
  (error: Error) => error.message,
);
