/**
 * `npm run study`: which parts of the EVA-CLIP recipe earn their place at this scale. Runs a preset's arms one after the other, the first
 * seed at every rate, the others at the best, and draws the page. Broken off, it goes on where it was; after --minutes it stops and says
 * what is left (exit code 75). The preset `gpu` runs elsewhere: prepare.ts and gpu.py say how, --collect takes what came back.
 */
import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { errorLine, parseAtDoor } from "@kenpin/schema";
import { z } from "zod";
import { createProgressLine, duration } from "../../cloud-trainer/src/commands/training-screen.ts";
import { type Arm, armsOf } from "./arms.ts";
import { createHost, type Host } from "./host.ts";
import { RESULTS, writePage } from "./page.ts";
import { prepare } from "./prepare.ts";
import { PRESETS, PresetName, presetOf } from "./presets.ts";
import { realSetsOf } from "./real.ts";
import { bestRate, type RealSet, type Run, Study, studyOf } from "./results.ts";

const UNFINISHED = 75;
const Options = z.strictObject({
  preset: PresetName.default("smoke"),
  out: z.string().optional(),
  minutes: z.coerce.number().positive().default(1000),
  page: z.boolean().default(false),
  collect: z.string().optional(),
  real: z.string().optional(),
  json: z.boolean().default(false),
});
type Options = z.infer<typeof Options>;

const say = (line: string) => process.stderr.write(`${line}\n`);

const HELP = `npm run study -- [options]     which parts of the EVA-CLIP recipe earn their place at this scale; goes on where it was stopped

  --preset NAME    ${PRESETS.join(", ")}; smoke without it
  --out DIR        runs and page; runs/study/PRESET without it
  --minutes N      stop after so many; what is left is done by the next call
  --page           only draw the page of test/study/results, or of --out, again
  --collect DIR    make the page of what gpu.py left in a folder: runs.jsonl and weights
  --real DIR       with --collect: real sets to judge the weights on, a folder a set in MVTec layout
  --json           print what was found as JSON
`;

if (import.meta.main) {
  await run().catch((error: unknown) => {
    say(`study: ${errorLine(error)}`);
    process.exitCode = 1;
  });
}

async function run(): Promise<void> {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const { values } = parseArgs({
    options: { preset: text, out: text, minutes: text, collect: text, real: text, page: flag, json: flag, help: { ...flag, short: "h" } },
  });
  if (values.help) return void process.stdout.write(HELP);
  const options = parseAtDoor(Options, values, "study");
  if (options.page) return void (await writePage(resolve(options.out ?? RESULTS)));
  await (options.collect === undefined ? study(options) : collect(options, resolve(options.collect)));
}

async function study({ preset: name, out, minutes, json }: Options): Promise<void> {
  const preset = presetOf(name);
  const dir = resolve(out ?? join("runs/study", name));
  if (preset.engine === "torch") {
    await prepare(preset, name, dir);
    say(
      `${dir} is ready; where the GPU is: python3 test/study/gpu.py --plan ${dir} --out RESULTS, then here: npm run study -- --collect RESULTS`,
    );
    return;
  }
  const host = createHost(preset, { work: join(dir, "work"), tell: tellProgress() });
  const finished = await runAll({ name, dir, host, until: Date.now() + minutes * 60_000 });
  if (!finished) process.exitCode = UNFINISHED;
  await finish(dir, dir, [], json);
}

/** Whether nothing is left. */
export async function runAll({ name, dir, host, until }: { name: PresetName; dir: string; host: Host; until: number }): Promise<boolean> {
  const { scale, seeds } = presetOf(name);
  const arms = armsOf(scale);
  const byName = new Map(arms.map((arm) => [arm.id, arm]));
  await mkdir(dir, { recursive: true });
  const file = join(dir, "runs.jsonl");
  let lines = await readLines(file);
  const add = async (line: object) => {
    await appendFile(file, `${JSON.stringify(line)}\n`);
    lines = [...lines, line];
  };
  if (lines.length === 0) {
    const machine = { device: cpus()[0]?.model ?? "processor", backend: "tfjs", precision: "float32" };
    await add({ preset: name, machine, processes: 1, began: Date.now() / 1000 });
  }
  const found = () => studyOf(lines, []);
  const has = (arm: string, seed: number, rate: number) =>
    lines.length > 1 && found().runs.some((run) => run.arm === arm && run.seed === seed && run.rate === rate);
  for (const seed of seeds) {
    if (!has("untrained", seed, 0)) await add(await host.untrained(seed));
    for (const arm of arms) {
      for (const own of arm.seeds ? (seed === seeds[0] ? arm.seeds : []) : [seed]) {
        for (const rate of ratesFor(found(), byName, arm, own)) {
          if (has(arm.id, own, rate)) continue;
          const given = [arm.from, arm.teacher].map((other) => folderOf(found(), byName, host, other, own));
          if (given.some((dir) => dir === "lost")) continue;
          if (Date.now() > until) return false;
          say(`${arm.id}, seed ${own}, rate ${rate}`);
          const [start = null, teacher = null] = given;
          await add(await host.run({ arm, seed: own, rate, start, teacher }));
        }
      }
    }
  }
  return true;
}

function ratesFor(found: Study, arms: ReadonlyMap<string, Arm>, arm: Arm, seed: number): number[] {
  const first = arm.seeds?.[0] ?? presetOf(found.preset).seeds[0];
  if (seed === first && arm.ratesOf === null) return arm.rates;
  const best = bestRate(found, arms, arm.id);
  return best === null ? [] : [best];
}

/** The weights of another arm; null: drawn, or no arm's. */
function folderOf(found: Study, arms: ReadonlyMap<string, Arm>, host: Host, other: string | null, seed: number): string | null | "lost" {
  const arm = other === null ? undefined : arms.get(other);
  if (!arm) return null;
  const rate = arm.stage === "pretrain" ? arm.rates[0] : bestRate(found, arms, arm.id);
  const own = arm.seeds?.[0] ?? seed;
  const whole = found.runs.some((run) => run.arm === arm.id && run.seed === own && run.rate === rate && !run.failed);
  return rate !== null && rate !== undefined && whole ? host.modelOf(arm.id, own, rate) : "lost";
}

async function collect({ preset, out, real, json }: Options, from: string): Promise<void> {
  const judged = real === undefined ? [] : await realSetsOf({ weights: from, data: resolve(real), preset: presetOf(preset), say });
  await finish(from, resolve(out ?? RESULTS), judged, json);
}

async function finish(from: string, to: string, real: RealSet[], json: boolean): Promise<void> {
  const found = studyOf(await readLines(join(from, "runs.jsonl")), real);
  await mkdir(to, { recursive: true });
  await writeFile(join(to, "study.json"), `${JSON.stringify(Study.parse(found), null, 1)}\n`);
  const files = await writePage(to);
  if (json) process.stdout.write(`${JSON.stringify(found)}\n`);
  say(`${found.runs.length} runs, ${duration(found.seconds)}; ${files.join(", ")} are in ${to}`);
}

/** A line that was being written when the power went is no line. */
async function readLines(file: string): Promise<object[]> {
  const text = await readFile(file, "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => (line.endsWith("}") ? [JSON.parse(line) as Run] : []));
}

function tellProgress() {
  const lineOf = createProgressLine();
  let saidAt = 0;
  return (progress: Parameters<typeof lineOf>[0]) => {
    const line = lineOf(progress);
    if (Date.now() - saidAt < 5000) return;
    saidAt = Date.now();
    say(line);
  };
}
