/**
 * The study: its page is what its figures say, by rules; runs that were broken off go on; and the whole of it, at toy size, on either
 * engine. What needs Python is skipped where the engine torch is not installed.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { python, skip } from "../cloud-trainer/train/torch-python.ts";
import { type Arm, armsOf } from "./arms.ts";
import { claimsOf } from "./claims.ts";
import type { Host } from "./host.ts";
import { atLeast, estimate } from "./intervals.ts";
import { runAll } from "./main.ts";
import { RESULTS } from "./page.ts";
import { prepare } from "./prepare.ts";
import { presetOf } from "./presets.ts";
import { stageOf, stepsOf } from "./recipe.ts";
import { pageOf } from "./report.ts";
import { type Run, Study, studyOf } from "./results.ts";

const ENTRY = join(import.meta.dirname, "gpu.py");

async function temporary(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "kenpin-study-"));
  t.after(() => rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }));
  return dir;
}

test("an interval over three seeds is Student's: wide, and infinite for one", () => {
  const three = estimate([0.8, 0.82, 0.84]);
  assert.ok(Math.abs((three?.mean ?? 0) - 0.82) < 1e-12);
  assert.ok(Math.abs((three?.high ?? 0) - (0.82 + (4.303 * 0.02) / Math.sqrt(3))) < 1e-12);
  assert.equal(estimate([0.8])?.low, Number.NEGATIVE_INFINITY);
  assert.equal(estimate([]), null);
});

test("a claim holds or fails only where the whole interval says so", () => {
  assert.equal(atLeast({ mean: 0.02, low: -0.005, high: 0.045, seeds: 3 }, 0.01), "holds");
  assert.equal(atLeast({ mean: -0.05, low: -0.08, high: -0.02, seeds: 3 }, 0.01), "does not hold");
  assert.equal(atLeast({ mean: 0.02, low: -0.05, high: 0.09, seeds: 3 }, 0.01), "cannot be told");
  assert.equal(atLeast({ mean: 0.3, low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY, seeds: 1 }, 0.01), "cannot be told");
});

/** A study of which every arm ran, `gain` above the base recipe's .8 on families never trained on. */
function made(gain: (arm: Arm) => number): Study {
  const preset = presetOf("gpu");
  const told = (image: number) => ({ image, frame: image, patches: image, contrast: 1 });
  const arms = armsOf(preset.scale);
  const first = (arm: Arm) => (arms.find(({ id }) => id === (arm.ratesOf ?? arm.id)) as Arm).rates[0] as number;
  const runs = arms.flatMap((arm) =>
    (arm.seeds ?? preset.seeds).flatMap((seed): Run[] =>
      (seed === 1 && arm.ratesOf === null ? arm.rates : [first(arm)]).map((rate) => {
        const image = 0.8 + gain(arm) + seed * 0.001 - (rate - first(arm)) * 0.01;
        const judged = { choose: told(image), seen: told(image + 0.05), unseen: told(image) };
        return {
          do: "train",
          arm: arm.id,
          seed,
          rate,
          began: 10,
          wall: 1,
          steps: 9,
          samples: 900,
          ...(arm.stage !== "pretrain" && { judged }),
        };
      }),
    ),
  );
  const head = { preset: "gpu", machine: { device: "a card", torch: "2", precision: "bf16" }, processes: 8, began: 5 };
  const speed = { do: "speed", batch: 2000, imagesPerSecond: { scratch: 1000, dropout: 1500 }, began: 6, wall: 1 };
  return studyOf([head, speed, ...runs], []);
}

test("what the page says of a claim follows from the figures", () => {
  const found = claimsOf(made(({ id }) => (id === "clip-half" ? 0.02 : /^(hog|clip)/.test(id) ? -0.05 : id === "adamw-large" ? 0.04 : 0)));
  const answer = (words: string) => found.find(({ claim }) => claim.includes(words))?.answer;
  assert.equal(answer("CLIP features reaches the scratch run's end at 50 %"), "holds");
  assert.equal(answer("to HOG reaches the scratch run's end at 50 %"), "does not hold");
  assert.equal(answer("the teacher's training charged too"), "was not tried");
  assert.equal(answer("AdamW at the large batch"), "does not hold");
  assert.equal(answer("AdamW at the small batch"), "holds");
  assert.equal(answer("batch 2000, alone on the device"), "does not hold");
});

test("arms that have learned nothing are equal, and no claim is made of it", () => {
  const found = claimsOf(made(({ id }) => (id.endsWith("-large") ? -0.3 : 0)));
  assert.equal(found.find(({ claim }) => claim.includes("AdamW at the large batch"))?.answer, "cannot be told");
  assert.equal(found.find(({ claim }) => claim.includes("AdamW at the small batch"))?.answer, "holds");
});

test("a run that came apart is no best rate, and a rate at the edge is said to be there", () => {
  const study = made(() => 0);
  const runs = study.runs.map((run) => {
    if (run.arm !== "group" || run.rate !== 0.5) return run;
    const { judged, ...rest } = run;
    return { ...rest, failed: "the training came apart" };
  });
  const page = pageOf({ ...study, runs }).get("README.md") as string;
  assert.match(page, /\| one trust ratio a group +\| 0\.5: came apart, 1\.5: \*\*0\.\d+\*\* +\| at the edge/);
});

test("the committed page is what its study.json gives, byte for byte", {
  skip: existsSync(RESULTS) ? false : "no study has been run yet",
}, async () => {
  const study = Study.parse(JSON.parse(await readFile(join(RESULTS, "study.json"), "utf8")));
  const files = pageOf(study);
  for (const [name, text] of files) assert.equal(await readFile(join(RESULTS, name), "utf8"), text, name);
  assert.deepEqual((await readdir(RESULTS)).sort(), [...files.keys(), "study.json"].sort());
});

test("every arm is a stage that the recipe's schema takes, and differs from the base recipe in one thing", () => {
  const { scale } = presetOf("gpu");
  const arms = armsOf(scale);
  const data = { generated: { surfaces: 1000, seed: 1 } };
  for (const arm of arms) assert.equal(stageOf(arm, 1, data).steps, stepsOf(arm));
  const base = arms.find(({ id }) => id === "scratch") as Arm;
  const apart = (id: string) => {
    const arm = arms.find((one) => one.id === id) as Arm;
    return (Object.keys(base) as (keyof Arm)[]).filter((key) => key !== "id" && JSON.stringify(arm[key]) !== JSON.stringify(base[key]));
  };
  assert.deepEqual(apart("adamw-small"), ["optimizer"]);
  assert.deepEqual(apart("group"), ["trustScope"]);
  assert.deepEqual(apart("clip"), ["from"]);
  assert.deepEqual(apart("dropout"), ["samples", "patchDropout"]);
});

test("a study that is broken off goes on with the runs that are missing, and each is done once", async (t) => {
  const dir = await temporary(t);
  const asked: string[] = [];
  let left = 2;
  const line = (arm: string, seed: number, rate: number): Run => {
    if (left-- <= 0) throw new Error("the power went");
    asked.push(`${arm} ${seed} ${rate}`);
    const told = { image: 0.7, frame: 0.7, patches: 0.7 };
    return {
      do: arm === "untrained" ? "untrained" : "train",
      arm,
      seed,
      rate,
      began: 1,
      wall: 1,
      judged: { choose: told, seen: told, unseen: null },
    };
  };
  const host: Host = {
    modelOf: (arm, seed, rate) => join(dir, `${arm}-${seed}-${rate}`),
    untrained: async (seed) => line("untrained", seed, 0),
    run: async ({ arm, seed, rate }) => line(arm.id, seed, rate),
  };
  const options = { name: "smoke", dir, host, until: Number.POSITIVE_INFINITY } as const;
  await assert.rejects(runAll(options), /the power went/);
  left = Number.POSITIVE_INFINITY;
  assert.equal(await runAll(options), true);
  assert.equal(new Set(asked).size, asked.length);
  const { scale } = presetOf("smoke");
  assert.deepEqual(new Set(asked.map((one) => one.split(" ")[0])), new Set(["untrained", ...armsOf(scale).map(({ id }) => id)]));
  assert.equal(await runAll({ ...options, until: 0 }), true, "nothing is left");
});

test("the whole of it at toy size on the engine torch, killed and gone on with", { skip }, async (t) => {
  const [plan, out] = [await temporary(t), await temporary(t)];
  await prepare(presetOf("toy"), "toy", plan);
  const call = (minutes: number) =>
    spawnSync(
      python,
      [
        ENTRY,
        "--plan",
        plan,
        "--out",
        out,
        "--work",
        join(out, "work"),
        "--minutes",
        String(minutes),
        "--processes",
        "1",
        "--threads",
        "2",
        "--device",
        "cpu",
      ],
      { encoding: "utf8" },
    );
  const lines = async () =>
    (await readFile(join(out, "runs.jsonl"), "utf8"))
      .trim()
      .split("\n")
      .map((one) => JSON.parse(one));
  const first = call(0.6);
  assert.equal(first.status, 0, first.stderr);
  const before = await lines();
  const second = call(5);
  assert.equal(second.status, 0, second.stderr);
  const study = studyOf(await lines(), []);
  t.diagnostic(`${before.length} lines after the first call, ${study.runs.length} runs after the second`);
  const failed = study.runs.flatMap(({ arm, failed: why }) => (why ? [`${arm}: ${why}`] : []));
  assert.deepEqual(failed, []);
  const { scale, seeds } = presetOf("toy");
  for (const arm of armsOf(scale))
    for (const seed of arm.seeds ?? seeds)
      assert.ok(
        study.runs.some((run) => run.arm === arm.id && run.seed === seed),
        `${arm.id} ${seed}`,
      );
  assert.ok(pageOf(study).has("README.md"));
});
