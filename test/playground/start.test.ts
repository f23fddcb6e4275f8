/** `npm start` before anything has started: its help, what it says to a mistyped option, and its progress in a log. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { test } from "node:test";

const ROOT = resolve(import.meta.dirname, "../..");
const FLAGS = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];

function start(...args: string[]) {
  return spawnSync(process.execPath, [...FLAGS, join(ROOT, "packages/playground/src/main.ts"), ...args], { encoding: "utf8" });
}

test("--help names every option and starts nothing", () => {
  const { status, stdout, stderr } = start("--help");
  assert.deepEqual([status, stderr], [0, ""]);
  for (const option of ["--once", "--port", "--broker", "--frames", "--data", "--verbose"]) assert.ok(stdout.includes(option), option);
});

test("a mistyped option, a bad port and a folder without frames end with one clear line", () => {
  for (const [args, expected] of [
    [["--onec"], /--onec.*npm start -- --help lists the options \[bad-option\]/],
    [["--port", "http"], /--port takes a number from 0 to 65535, not "http"/],
    [["--port", "70000"], /--port takes a number/],
    [["stray"], /stray.*\[bad-option\]/],
    [["--frames", "/nowhere"], /\/nowhere is no folder.*\[no-frames\]/],
  ] as const) {
    const { status, stdout, stderr } = start(...args);
    assert.deepEqual([status, stdout], [1, ""]);
    assert.match(stderr, /^kenpin: [^\n]+\n$/);
    assert.match(stderr, expected);
  }
});

test("in a log each stage begins with its name and ends with its last count, and nothing overwrites a line", () => {
  const script = `import { Progress } from ${JSON.stringify(join(ROOT, "packages/playground/src/progress.ts"))};
    const progress = new Progress();
    for (const stage of ["a. first", "b. second"]) {
      for (let i = 0; i < 40; i++) progress.tell(stage, "frames", i, 40);
      await new Promise((later) => setTimeout(later, 250));
      for (let i = 0; i < 40; i++) progress.tell(stage, "frames", 40, 40);
    }
    progress.note("done");`;
  const { stderr, stdout } = spawnSync(process.execPath, [...FLAGS, "--input-type=module-typescript", "-e", script], { encoding: "utf8" });
  assert.equal(stdout, "");
  assert.ok(!stderr.includes("\r") && !stderr.includes("\u001b"));
  const lines = stderr.trim().split("\n");
  assert.deepEqual([lines[0], lines.at(-1)], ["a. first", "done"]);
  for (const stage of ["a. first", "b. second"]) {
    const from = lines.indexOf(stage);
    const to = lines.findIndex((line, i) => i > from && /█{24} 40\/40 frames \(\d+ s\)/.test(line));
    assert.ok(to > from, stderr);
  }
  assert.ok(lines.length < 10, "not a line for each of 160 calls");
});
