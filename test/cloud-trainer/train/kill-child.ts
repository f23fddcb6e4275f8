/**
 * `kill-child.ts DIR STEPS [LEAK]`: trains the small CLIP in DIR, says each step, and leaves everything it ended with in
 * DIR/final. With LEAK each batch keeps so many MB for ever, and the process asks to be started again 400 MB above its start.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeSafetensors } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { loadBackend } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { runSteps } from "../../../cloud-trainer/src/train/engines/tfjs/steps.ts";
import { toTensors } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { openRunFolder, RECYCLE } from "../../../cloud-trainer/src/train/run-folder.ts";
import { tinyBatch, tinyTraining } from "./tiny-clip.ts";

const [dir, steps, leak] = process.argv.slice(2) as [string, string, string?];
const { tf } = await loadBackend();
const training = tinyTraining(tf, { steps: Number(steps) });
const folder = await openRunFolder(dir);
const kept: Buffer[] = [];
const batchAt = (draw: number) => {
  if (leak) kept.push(Buffer.alloc(Number(leak) * 2 ** 20, 1));
  return tinyBatch(draw);
};
const memoryLimitMb = leak ? process.memoryUsage.rss() / 2 ** 20 + 400 : null;
try {
  const onStep = ({ step }: { step: number }) => process.stdout.write(`${step}\n`);
  await runSteps({ ...training, folder, batchAt, memoryLimitMb, checkpointEvery: leak ? 1000 : 3, onStep });
} catch (error) {
  process.exit(error instanceof KenpinError && error.code === RECYCLE.error ? RECYCLE.exitCode : 1);
}
folder.close();
const all = [...toTensors(training.weights), ...training.optimizer.state(), ...training.average.state()];
writeFileSync(join(dir, "final"), encodeSafetensors(new Map(all)));
