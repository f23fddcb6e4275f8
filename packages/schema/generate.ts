/**
 * Writes packages/schema/json/<name>.json, one JSON Schema a contract, for editors and for other languages.
 * With --check it writes nothing and fails where a file differs from its contract.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import * as contracts from "./src/index.ts";

const OUT = join(import.meta.dirname, "json");
const CONTRACTS = {
  "agent-config": contracts.AgentConfig,
  "agent-snapshot": contracts.AgentSnapshot,
  "agent-status": contracts.AgentStatus,
  ack: contracts.Ack,
  "bundle-desired": contracts.BundleDesired,
  "bundle-manifest": contracts.BundleManifest,
  "bundle-reported": contracts.BundleReported,
  command: contracts.Command,
  drift: contracts.Drift,
  evaluation: contracts.Evaluation,
  label: contracts.Label,
  "part-sheet": contracts.PartSheet,
  "prompt-set": contracts.PromptSet,
  recipe: contracts.Recipe,
  reply: contracts.Reply,
  sample: contracts.Sample,
  "signed-command": contracts.SignedCommand,
  thresholds: contracts.Thresholds,
  verdict: contracts.Verdict,
};

const check = process.argv.includes("--check");
const stale: string[] = [];
mkdirSync(OUT, { recursive: true });
for (const [name, schema] of Object.entries(CONTRACTS)) {
  const file = join(OUT, `${name}.json`);
  const text = `${JSON.stringify({ title: name, ...z.toJSONSchema(schema, { io: "input" }) }, null, 2)}\n`;
  if (!check) writeFileSync(file, text);
  else if (read(file) !== text) stale.push(name);
}
if (stale.length > 0) {
  process.stderr.write(`JSON Schema differs from its contract: ${stale.join(", ")}; run "node packages/schema/generate.ts"\n`);
  process.exit(1);
}

function read(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}
