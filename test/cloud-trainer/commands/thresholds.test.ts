/** `kenpin thresholds` as a person runs it. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Thresholds } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import { inFolder, runKenpin } from "../import/seeded-checkpoint.ts";

const random = createRandom(6);
const rows = (label: string, n: number, low: number, high: number) =>
  Array.from({ length: n }, (_, i) => `${label}/${i}.png,${label},${i % 2 ? "test" : "calibration"},${random.between(low, high)}`);

test("a table of scores gives cuts, their promise and a curve", async () => {
  await inFolder(async (dir) => {
    const file = join(dir, "scores.csv");
    await writeFile(file, ["file,label,split,score", ...rows("good", 80, 0, 0.5), ...rows("bad", 80, 0.4, 1)].join("\n"));
    const args = ["thresholds", "--scores", file, "--split", "calibration"];
    const { code, stdout, stderr } = await runKenpin([...args, "--json"]);
    assert.equal(code, 0, stderr);
    const { thresholds, curve } = JSON.parse(stdout);
    const { promise } = Thresholds.parse(thresholds);
    assert.deepEqual([promise?.bad.samples, promise?.good.samples, promise?.coverage], [40, 40, 0.9]);
    assert.equal(curve.length, 101);
    const read = await runKenpin(args);
    assert.match(read.stdout, /promised: at most 5 % of bad parts pass, on average over calibrations \(40 samples\)/);
    const sure = await runKenpin([...args, "--confidence", "0.95"]);
    assert.match(sure.stdout, /not promised: that at most 5 % of bad parts pass; 19 more randomly drawn samples are wanting/);
  });
});

test("a table without rows, with a strange label, without scores, or no table at all is refused in one line", async () => {
  await inFolder(async (dir) => {
    const file = join(dir, "scores.csv");
    const refused = async (text: string, message: RegExp, args: string[] = []) => {
      await writeFile(file, text);
      const { code, stderr } = await runKenpin(["thresholds", "--scores", file, ...args]);
      assert.equal(code, 1);
      assert.match(stderr, message);
      assert.equal(stderr.trim().split("\n").length, 1);
    };
    await refused("label,score\n", /has no row/);
    await refused("label,score\ngood,0.1\n", /has no row of the split test/, ["--split", "test"]);
    await refused("label,score\nmaybe,0.1\n", /label "maybe"; labels are good and bad/);
    await refused("label,score\ngood,7\n", /row 2 at score/);
    await refused("label\ngood\n", /row 2 at score/);
    await refused('label,score\n"good,0.1\n', /cannot be read as a table/);
    const missing = await runKenpin(["thresholds", "--scores", join(dir, "none.csv")]);
    assert.match(missing.stderr, /none\.csv cannot be read/);
  });
});
