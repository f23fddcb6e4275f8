/**
 * The digest of what decides beside the model: words, thresholds and the memory bank's reference frames, in their order.
 * Canonical JSON: keys sorted, no spaces, so that writing a file anew with the same content changes nothing.
 */
import { createHash } from "node:crypto";
import type { PromptSet, Thresholds } from "@kenpin/schema";

export function settingsDigest(prompts: PromptSet, thresholds: Thresholds, references: readonly { sha256: string }[]): string {
  const settings = { prompts, thresholds, references: references.map(({ sha256 }) => sha256) };
  return createHash("sha256").update(canonicalJson(settings)).digest("hex");
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonicalJson(entry)}`).join(",")}}`;
}
