/**
 * `kenpin-agent doctor` and `kenpin-agent bench`: what this device can do, and how fast. Results go to stdout; what takes longer
 * than two seconds says on stderr how far it is.
 */
import { progressLine } from "@kenpin/page/progress";
import type { Building } from "@kenpin/schema";
import { type Command, InvalidArgumentError } from "commander";
import { type BenchResult, runBench } from "./bench.ts";
import { examine } from "./doctor.ts";
import type { Check } from "./doctor-surroundings.ts";
import { loadConfig } from "./operate/config.ts";

type Print = (json: true | undefined, value: unknown, text: string) => void;

const FRAMES = 100;
const FRAMES_LIMIT = 100_000;

export function addDeviceCommands(program: Command, print: Print): void {
  program
    .command("doctor")
    .description("say whether this device can do what its configuration asks, and what to do where it cannot")
    .requiredOption("--config <file>", "the agent's YAML file")
    .option("--json", "print JSON")
    .action(async ({ config, json }: { config: string; json?: true }) => {
      const checks = await examine(await loadConfig(config), sayBuilding);
      const ok = checks.every(({ state }) => state !== "failed");
      print(json, { ok, checks }, checks.map(checkLine).join("\n"));
      if (!ok) process.exitCode = 1;
    });
  program
    .command("bench")
    .description("time frames by stage on this device, with the installed bundle")
    .requiredOption("--config <file>", "the agent's YAML file")
    .option("--frames <number>", "how many", count, FRAMES)
    .option("--images <folder>", "pictures as the cameras give them; the bundle's golden images where left out")
    .option("--json", "print JSON")
    .action(async ({ config, frames, images, json }: { config: string; frames: number; images?: string; json?: true }) => {
      const options = { frames, images, onBuilding: sayBuilding, onProgress: progressLine("frames") };
      const result = await runBench(await loadConfig(config), options);
      print(json, result, benchText(result));
    });
}

function checkLine({ state, name, detail, advice }: Check): string {
  return `${state.padEnd(7)}  ${name.padEnd(17)}  ${detail}${advice ? `\n${" ".repeat(28)}→ ${advice}` : ""}`;
}

function benchText({ device, runtime, provider, precision, frames, sizes, ms, framesPerSecond }: BenchResult): string {
  const rows = Object.entries(ms).map(
    ([stage, { median, p95 }]) => `${stage.padEnd(12)}${median.toFixed(2).padStart(9)}${p95.toFixed(2).padStart(9)}`,
  );
  const head = `${frames} frames of ${sizes.join(", ")}, ${precision}, onnxruntime ${runtime}, ${provider}, ${device}`;
  return [head, "", "ms a frame    median      p95", ...rows, "", `${framesPerSecond.toFixed(1)} frames a second`].join("\n");
}

function sayBuilding({ provider, elapsedMs, expectedMs }: Building): void {
  const expected = expectedMs === null ? "" : `, the last one took ${Math.round(expectedMs / 1000)} s`;
  process.stderr.write(`opening the model with ${provider}: ${Math.round(elapsedMs / 1000)} s${expected}\n`);
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > FRAMES_LIMIT) {
    throw new InvalidArgumentError(`a whole number from 1 to ${FRAMES_LIMIT} was expected`);
  }
  return value;
}
