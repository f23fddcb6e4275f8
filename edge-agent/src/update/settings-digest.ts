/**
 * The digest of what decides beside the model: words, thresholds and the labelled reference frames, in their order.
 * Canonical JSON: keys sorted, no spaces, so that writing a file anew with the same content changes nothing.
 */
import { createHash } from "node:crypto";
import type { PromptSet, Thresholds } from "@kenpin/schema";
import type { Reference } from "../setup.ts";

export function settingsDigest(
  prompts: PromptSet,
  thresholds: Thresholds,
  references: readonly Pick<Reference, "sha256" | "label">[],
): string {
  const named = references.map(({ sha256, label }) => (label === "good" ? sha256 : { [label]: sha256 }));
  const settings = { prompts, thresholds, references: named };
  return createHash("sha256").update(canonicalJson(settings)).digest("hex");
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonicalJson(entry)}`).join(",")}}`;
}
