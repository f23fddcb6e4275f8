/**
 * `npm test`: every test of the project, or those whose path holds one of the given words.
 * `--coverage` measures with c8. Timings live in test/bench and are no part of this.
 */
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "..");
const words = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));
const files = globSync("test/**/*.test.ts", { cwd: ROOT }).filter(
  (file) => words.length === 0 || words.some((word) => file.includes(word)),
);
if (files.length === 0) {
  process.stderr.write(`no test file has any of these in its path: ${words.join(", ")}\n`);
  process.exit(1);
}
const coverage = process.argv.includes("--coverage") ? [join(ROOT, "node_modules/c8/bin/c8.js"), "--reporter=text-summary"] : [];
const node = [process.execPath, "--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
/**
 * Trainers take both cores, pages and stories want them, and Node-RED's tests build one folder: those run alone and at the end. All
 * others mostly wait, two files at a time.
 */
const ALONE = /^test\/(cloud-trainer\/(train|trainer-process|tune)|journeys|node-red-nodes|web)[./]/;
const together = files.filter((file) => !ALONE.test(file));
const alone = files.filter((file) => ALONE.test(file));
process.exit(Math.max(run(together, 2), run(alone, 1)));

function run(some: readonly string[], atOnce: number): number {
  if (some.length === 0) return 0;
  const command = [...node, "--test", `--test-concurrency=${atOnce}`, ...some];
  const [program, ...args] = coverage.length > 0 ? [process.execPath, ...coverage, ...command] : command;
  return spawnSync(program as string, args, { cwd: ROOT, stdio: "inherit" }).status ?? 1;
}
