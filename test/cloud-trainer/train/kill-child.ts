/** `kill-child.ts DIR STEPS`: trains the small CLIP in DIR, says each step, and leaves everything it ended with in DIR/final. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeSafetensors } from "@kenpin/clip";
import { loadBackend } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { runSteps } from "../../../cloud-trainer/src/train/engines/tfjs/steps.ts";
import { toTensors } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { openRunFolder } from "../../../cloud-trainer/src/train/run-folder.ts";
import { tinyTraining } from "./tiny-clip.ts";

const [dir, steps] = process.argv.slice(2) as [string, string];
const { tf } = await loadBackend();
const training = tinyTraining(tf, { steps: Number(steps) });
const folder = await openRunFolder(dir);
await runSteps({ ...training, folder, checkpointEvery: 3, onStep: ({ step }) => process.stdout.write(`${step}\n`) });
folder.close();
const all = [...toTensors(training.weights), ...training.optimizer.state(), ...training.average.state()];
writeFileSync(join(dir, "final"), encodeSafetensors(new Map(all)));
