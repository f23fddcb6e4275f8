/**
 * Does an agent grow with every model it is given? A hundred swaps of a real agent's model, one after the other, each with a frame:
 *   node --conditions=kenpin-source test/bench/swaps.ts [--swaps 100] [--out FILE]
 * Prints JSON: resident memory of the agent's process after each swap, and by how much the last quarter's median and the largest of
 * all lie above what it held before, when it had answered 200 frames. In runtimes that leak with every reload that is hundreds of
 * percent (microsoft/onnxruntime#25325); here each model has a process of its own, which ends with it.
 */
import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { growthOf, swapModels } from "../support/model-swaps.ts";

const { values } = parseArgs({ options: { swaps: { type: "string", default: "100" }, out: { type: "string" } } });
const swaps = Number(values.swaps);
const began = performance.now();
const { before, agentMb, inspectorMb, processes } = await swapModels(swaps, (done) => {
  if (done % 10 === 0) process.stderr.write(`${done} of ${swaps} swaps\n`);
});
const whole = (mb: readonly number[]) => mb.map((one) => Math.round(one));
const result = {
  bench: "swaps",
  node: process.version,
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  swaps,
  seconds: Math.round((performance.now() - began) / 1000),
  inspectorsLeft: processes,
  agent: { before, ...growthOf(before, agentMb), mb: whole(agentMb) },
  inspector: { mb: whole(inspectorMb) },
};
const text = `${JSON.stringify(result)}\n`;
if (values.out) await writeFile(values.out, text);
process.stdout.write(text);
