/**
 * A trainer as a process: its lines are bounded, its last words are kept, it ends when it is asked to, and it is started again
 * as long as its checkpoints go on.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startTrainer } from "../../cloud-trainer/src/trainer-process.ts";
import { inFolder } from "./import/seeded-checkpoint.ts";

test("each line arrives once, and a line without end neither grows nor arrives", async () => {
  const lines: string[] = [];
  const script = `process.stdout.write("one\\ntw"); setTimeout(() => {
    process.stdout.write("o\\n" + "x".repeat(3_000_000) + "\\nthree\\nfour");
  }, 50)`;
  await startTrainer([process.execPath], ["-e", script], (line) => lines.push(line)).done;
  assert.deepEqual(
    lines.map((line) => line.slice(0, 10)),
    ["one", "two", "three", "four"],
  );
});

test("a trainer that fails leaves its last words and its code", async () => {
  const script = `console.error("much before"); console.error("kenpin: the parent model is missing [model-missing]"); process.exit(3)`;
  await assert.rejects(
    startTrainer([process.execPath], ["-e", script], () => undefined).done,
    /the parent model is missing .*ended with code 3/,
  );
});

test("a trainer that does not listen is ended all the same", async () => {
  const lines: string[] = [];
  const script = `process.on("SIGTERM", () => console.log("no")); setInterval(() => 0, 1000); console.log("up")`;
  const trainer = startTrainer([process.execPath], ["-e", script], (line) => lines.push(line));
  while (!lines.includes("up")) await new Promise((later) => setTimeout(later, 20));
  await trainer.stop();
  await assert.rejects(trainer.done, /SIGKILL/);
});

test("a program that does not exist is a failed run and not a failed hub", async () => {
  await assert.rejects(startTrainer(["/nowhere/node"], [], () => undefined).done, { code: "trainer-failed" });
});

/** A program that counts its starts in DIR/starts, leaves a new checkpoint where `reaches` allows it, and ends as `ends` says. */
function trainer(dir: string, ends: string, reaches = "true") {
  const script = `const { appendFileSync, mkdirSync, readFileSync } = require("node:fs");
    appendFileSync("${join(dir, "starts")}", ".");
    const starts = readFileSync("${join(dir, "starts")}", "utf8").length;
    if (${reaches}) mkdirSync("${dir}/tune/checkpoints/step-" + String(starts * 10).padStart(8, "0"), { recursive: true });
    console.log("start " + starts);
    ${ends}`;
  const lines: string[] = [];
  const why: string[] = [];
  const supervision = { folder: dir, onRestart: (reason: string) => why.push(reason) };
  const { done, stop } = startTrainer([process.execPath], ["-e", script], (line) => lines.push(line), supervision);
  return { done, stop, lines, why, starts: () => (existsSync(join(dir, "starts")) ? readFileSync(join(dir, "starts"), "utf8").length : 0) };
}

test("a trainer whose memory has grown is started again as often as it asks, while its checkpoints go on", async () => {
  await inFolder(async (dir) => {
    const { done, lines, why } = trainer(dir, "process.exit(starts < 6 ? 75 : 0)");
    await done;
    assert.deepEqual(lines, ["start 1", "start 2", "start 3", "start 4", "start 5", "start 6"]);
    assert.equal(why.length, 5);
    assert.match(why[0] as string, /memory/);
  });
});

test("a trainer that asks to be started again without having got further is given up", async () => {
  await inFolder(async (dir) => {
    const { done, starts } = trainer(dir, `console.error("kenpin: 900 MB are in use"); process.exit(75)`, "starts < 3");
    await assert.rejects(done, /900 MB are in use .*ended with code 75/);
    assert.equal(starts(), 3);
  });
});

test("a trainer ended by the kernel is started again three times, if it got further each time", async () => {
  await inFolder(async (dir) => {
    const { done, starts, why } = trainer(dir, `process.kill(process.pid, "SIGKILL")`);
    await assert.rejects(done, /SIGKILL/);
    assert.equal(starts(), 4);
    assert.match(why.join(), /SIGKILL.*SIGKILL.*SIGKILL/);
  });
  await inFolder(async (dir) => {
    const { done, starts } = trainer(dir, `process.kill(process.pid, "SIGSEGV")`, "false");
    await assert.rejects(done, /SIGSEGV/);
    assert.equal(starts(), 1);
  });
});

test("a trainer somebody ends, or that fails by itself, is not started again", async () => {
  for (const ends of [`process.kill(process.pid, "SIGTERM"); setInterval(() => 0, 1000)`, "process.exit(1)"]) {
    await inFolder(async (dir) => {
      const { done, starts } = trainer(dir, ends);
      await assert.rejects(done, { code: "trainer-failed" });
      assert.equal(starts(), 1);
    });
  }
  await inFolder(async (dir) => {
    const { done, stop, starts } = trainer(dir, "setInterval(() => 0, 1000)");
    while (starts() === 0) await new Promise((later) => setTimeout(later, 20));
    await stop();
    await assert.rejects(done, { code: "trainer-failed" });
    assert.equal(starts(), 1);
  });
});

test("the trainer's threads are pinned, and what the machine's owner has set stays", async () => {
  const say = async () => {
    const lines: string[] = [];
    const script = "console.log(process.env.TF_NUM_INTRAOP_THREADS)";
    await startTrainer([process.execPath], ["-e", script], (line) => lines.push(line)).done;
    return lines;
  };
  delete process.env["TF_NUM_INTRAOP_THREADS"];
  assert.deepEqual(await say(), [String(availableParallelism())]);
  process.env["TF_NUM_INTRAOP_THREADS"] = "7";
  assert.deepEqual(await say(), ["7"]);
  delete process.env["TF_NUM_INTRAOP_THREADS"];
});
