/** Checkpoints of the golden towers as files, and the command line as a user runs it. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeSafetensors, type ModelConfig, parseModelConfig } from "@kenpin/clip";
import { seededTensors } from "../../onnx/seeded-weights.ts";

export type GoldenTower = { config: ModelConfig } & Record<
  "image_embeds" | "patch_embeds_first" | "patch_embeds_last" | "text_embeds",
  number[]
>;
export type Ran = { code: number | null; stdout: string; stderr: string };

const ROOT = join(import.meta.dirname, "../../..");
const CLI = join(ROOT, "cloud-trainer/src/cli.ts");

export const goldenTowers = (JSON.parse(readFileSync(join(ROOT, "test/fixtures/clip/towers.json"), "utf8")) as GoldenTower[]).map(
  (tower) => ({
    ...tower,
    config: parseModelConfig(tower.config, tower.config.name),
  }),
);

export function goldenTower(name: string): GoldenTower {
  const found = goldenTowers.find(({ config }) => config.name === name);
  if (!found) throw new Error(`no golden tower is called ${name}`);
  return found;
}

/** model.safetensors and config.json of the small model of that name, in a folder. */
export async function writeSeededCheckpoint(dir: string, config: ModelConfig): Promise<{ checkpoint: string; configFile: string }> {
  const [checkpoint, configFile] = [join(dir, "model.safetensors"), join(dir, "config.json")];
  await writeFile(checkpoint, encodeSafetensors(seededTensors(config)));
  await writeFile(configFile, JSON.stringify(config));
  return { checkpoint, configFile };
}

export function runKenpin(args: string[], env: Record<string, string> = {}): Promise<Ran> {
  return startKenpin(args, env).ended;
}

/** The command as a running process, for tests that end it. */
export function startKenpin(
  args: string[],
  env: Record<string, string> = {},
): { kill: (signal: NodeJS.Signals) => void; ended: Promise<Ran> } {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  const child = spawn(process.execPath, [...flags, CLI, ...args], { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const ran: Ran = { code: null, stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => {
    ran.stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    ran.stderr += chunk.toString();
  });
  const ended = new Promise<Ran>((resolve) => child.once("close", (code) => resolve({ ...ran, code })));
  return { kill: (signal) => child.kill(signal), ended };
}

export async function inFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "kenpin-import-"));
  try {
    await use(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Cosine and largest difference of two rows of embeddings, the worst row's. */
export function agreement(actual: ArrayLike<number>, expected: ArrayLike<number>, dim: number): { cosine: number; largest: number } {
  let [cosine, largest] = [actual.length === expected.length ? 1 : -1, 0];
  for (let row = 0; row < expected.length; row += dim) {
    let [dot, a, b] = [0, 0, 0];
    for (let i = row; i < row + dim; i++) {
      const [x, y] = [actual[i] as number, expected[i] as number];
      dot += x * y;
      a += x * x;
      b += y * y;
      largest = Math.max(largest, Math.abs(x - y));
    }
    cosine = Math.min(cosine, dot / Math.sqrt(a * b));
  }
  return { cosine, largest };
}
