/** Recipes as people write them: what is filled in, what is refused and how, and the ready ones. */
import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { planOf } from "../../../cloud-trainer/src/recipe/plan.ts";
import { parseRecipe, readRecipe } from "../../../cloud-trainer/src/recipe/recipe-file.ts";
import { inFolder } from "../import/seeded-checkpoint.ts";

const READY = resolve(import.meta.dirname, "../../../cloud-trainer/recipes");
const SHORT = "name: poc\nstart: { model: kenpin-s-8 }\nstages:\n  - stage: train\n    steps: 100\n";

test("what a recipe does not say has the paper's value", () => {
  const [stage] = parseRecipe(SHORT, "r.yaml").stages;
  const { optimizer } = stage as NonNullable<typeof stage>;
  assert.deepEqual(
    [optimizer.name, optimizer.rates, optimizer.layerDecay, optimizer.weightDecay, optimizer.clipNorm, optimizer.warmup],
    ["lamb", { image: 2e-4, text: 2e-5, other: 5e-4 }, { image: 0.75, text: 0.75 }, 0.05, 5, 2000],
  );
});

for (const [what, text, message] of [
  ["a misspelt key", SHORT.replace("steps", "stesp"), /stages\.0: unknown key "stesp", did you mean "steps"\?/],
  ["no length", SHORT.replace("    steps: 100\n", ""), /stages\.0: a stage lasts either `steps` or `seconds`/],
  ["two lengths", `${SHORT}    seconds: 5\n`, /a stage lasts either `steps` or `seconds`/],
  ["two starts", SHORT.replace("kenpin-s-8 }", "kenpin-s-8, weights: there }"), /start: a run starts from either `model` or `weights`/],
  ["a batch that micro-batches do not fill", `${SHORT}    batch: 100\n    microBatch: 48\n`, /`batch` must be a multiple of `microBatch`/],
  ["a rate below zero", `${SHORT}    optimizer: { rates: { image: -1 } }\n`, /stages\.0\.optimizer\.rates\.image/],
  ["no stages", "name: x\nstart: { model: kenpin-s-8 }\nstages: []\n", /at stages/],
  ["no YAML", "stages: [", /r\.yaml is no YAML/],
] as const) {
  test(`a recipe with ${what} is refused in one line`, () => {
    assert.throws(() => parseRecipe(text, "r.yaml"), (error: Error) => message.test(error.message) && !error.message.includes("\n")); // biome-ignore format: one line
  });
}

test("an expanding recipe (aliases of aliases) is refused before it fills the memory", () => {
  const levels = Array.from({ length: 12 }, (_, i) => `l${i}: &l${i} [${new Array(10).fill(i ? `*l${i - 1}` : "x").join(", ")}]`);
  assert.throws(() => parseRecipe(levels.join("\n"), "r.yaml"), { code: "recipe-unreadable" });
});

test("paths in a recipe are taken from its own folder, and a missing recipe is named", async () => {
  await inFolder(async (dir) => {
    const file = join(dir, "poc.yaml");
    await writeFile(file, `${SHORT.replace("{ model: kenpin-s-8 }", "{ weights: base }")}    data: { sets: [frames, /absolute] }\n`);
    const { start, stages } = await readRecipe(file);
    assert.equal(start.weights, join(dir, "base"));
    assert.deepEqual(stages[0]?.data.sets, [join(dir, "frames"), "/absolute"]);
    await assert.rejects(readRecipe(join(dir, "none.yaml")), { code: "recipe-missing", message: /none\.yaml cannot be read/ });
  });
});

test("every ready recipe can be read, and its plan says what it takes", async () => {
  const files = globSync("*.yaml", { cwd: READY });
  assert.ok(files.length >= 2);
  for (const file of files) {
    const recipe = await readRecipe(join(READY, file));
    const plan = await planOf(recipe, 100);
    assert.equal(plan.stages.length, recipe.stages.length);
    for (const stage of plan.stages) assert.ok(stage.steps > 0 && stage.gflops > 0 && stage.seconds > 0 && stage.memoryMb > 400, file);
  }
});

test("a plan's time doubles with the steps, and halves on a machine that multiplies twice as fast", async () => {
  const plan = async (steps: number, rate: number) =>
    (await planOf(parseRecipe(SHORT.replace("100", String(steps)), "r.yaml"), rate)).seconds;
  const once = await plan(100, 100);
  assert.ok(Math.abs((await plan(200, 100)) / once - 2) < 1e-9);
  assert.ok(Math.abs(once / (await plan(100, 200)) - 2) < 1e-9);
});
