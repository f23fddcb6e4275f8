/** Labelled frames as they come from a site: what was altered, lost or is no picture stays out, and only chance judges. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createHash } from "node:crypto";
import { holdOut, type LabelledSample, readLabelled } from "../../../cloud-trainer/src/samples/labelled.ts";
import { makePicture } from "../../support/hub.ts";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kenpin-labelled-"));
});
after(() => rm(folder, { recursive: true, force: true }));

async function place(name: string, bytes: Uint8Array, sha256 = digest(bytes)): Promise<LabelledSample> {
  const file = join(folder, name);
  await writeFile(file, bytes);
  return { file, sha256, label: "good", reason: "random", drawProbability: 0.1 };
}

test("frames whose bytes are not those that were labelled, are gone or are no picture are left out, one line each", async () => {
  const [a, b] = [await makePicture(1), await makePicture(2)];
  const whole = await place("whole", a.bytes);
  const altered = await place("altered", b.bytes, "a".repeat(64));
  const lost = { ...whole, file: join(folder, "nowhere"), sha256: "b".repeat(64) };
  const text = await place("text", Buffer.from("no picture"));
  const cut = await place("cut", b.bytes.subarray(0, 60));
  const problems: string[] = [];
  const frames = await readLabelled([altered, whole, lost, text, cut], (line) => problems.push(line));
  assert.deepEqual(
    frames.map(({ sha256, image }) => [sha256, image.width, image.height]),
    [[a.sha256, 64, 48]],
  );
  assert.equal(problems.length, 4);
  for (const { sha256 } of [altered, lost, text, cut]) {
    const line = problems.find((problem) => problem.includes(sha256.slice(0, 12)));
    assert.match(line ?? "", /^sample [0-9a-f]{12} is left out: [^\n]+$/);
    if (sha256 === altered.sha256) assert.match(line ?? "", /not those that were labelled/);
  }
});

test("the same frame, labelled twice, is learned once", async () => {
  const sample = await place("twice", (await makePicture(3)).bytes);
  assert.equal((await readLabelled([sample, sample, sample], assert.fail)).length, 1);
});

test("only randomly drawn frames are held out, about one in three, and always the same ones", () => {
  const frames = (reason: string, drawProbability = 0.1) =>
    Array.from({ length: 600 }, (_, i) => ({ sha256: digest(Buffer.from(`${i}`)), reason, drawProbability }));
  const { learn, judge } = holdOut([...frames("undecided"), ...frames("surprising"), ...frames("random", 0)]);
  assert.deepEqual([learn.length, judge.length], [1800, 0], "chosen ones, and those of which the chance is not known");
  const drawn = frames("random");
  const split = holdOut(drawn);
  const heldOut = split.judge.length + split.calibrate.length;
  assert.ok(heldOut > 150 && heldOut < 250, `${heldOut}`);
  assert.deepEqual(new Set([...split.learn, ...split.calibrate, ...split.judge]), new Set(drawn));
  const again = holdOut(drawn.toReversed());
  assert.deepEqual(new Set(again.judge), new Set(split.judge), "whatever else is labelled, and in whatever order");
});

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

test("cuts are set by half of what is held out once there is enough of it, of one chance of being drawn", () => {
  const drawn = (count: number, drawProbability: number, from: number) =>
    Array.from({ length: count }, (_, i) => ({
      file: "",
      sha256: createHash("sha256")
        .update(`${from + i}`)
        .digest("hex"),
      label: "good" as const,
      reason: "random",
      drawProbability,
    }));
  const few = holdOut(drawn(90, 0.1, 0));
  assert.deepEqual([few.calibrate.length, few.judge.length > 10], [0, true]);
  const many = holdOut([...drawn(600, 0.1, 0), ...drawn(60, 0.5, 1000)]);
  assert.ok(many.calibrate.length > 60 && many.judge.length > 60);
  assert.ok(many.calibrate.every(({ drawProbability }) => drawProbability === 0.1));
  const all = new Set([...many.learn, ...many.calibrate, ...many.judge].map(({ sha256 }) => sha256));
  assert.equal(all.size, 660, "every frame has one part");
});
