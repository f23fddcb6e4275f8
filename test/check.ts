/** `npm run check`: types, lint and format, import rules and cycles, dead code, generated contracts. All run; any failure fails. */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "..");
const CHECKS: [name: string, script: string, args: string[]][] = [
  ["types", "node_modules/typescript/bin/tsc", ["-b"]],
  ["lint and format", "node_modules/@biomejs/biome/bin/biome", ["check", "--error-on-warnings"]],
  [
    "import rules and cycles",
    "node_modules/dependency-cruiser/bin/dependency-cruise.mjs",
    ["--config", ".dependency-cruiser.cjs", "packages", "edge-agent/src", "cloud-trainer/src", "node-red-nodes/src"],
  ],
  ["dead code", "node_modules/knip/bin/knip.js", ["--no-progress"]],
  ["contracts as JSON Schema", "packages/schema/generate.ts", ["--check"]],
];

const failed = CHECKS.filter(([name, script, args]) => {
  process.stdout.write(`\n# ${name}\n`);
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  return spawnSync(process.execPath, [...flags, join(ROOT, script), ...args], { cwd: ROOT, stdio: "inherit" }).status !== 0;
});
process.stdout.write(failed.length === 0 ? "\nall checks pass\n" : `\nfailed: ${failed.map(([name]) => name).join(", ")}\n`);
process.exit(failed.length === 0 ? 0 : 1);
