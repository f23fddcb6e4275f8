/** A trainer as a process: its lines are bounded, its last words are kept, and it ends when it is asked to. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startTrainer } from "../../../cloud-trainer/src/serve/trainer-process.ts";

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
