/**
 * Parsing at the door: one clear line for bad input, and the nearest right name for a misspelt key.
 */
import { z } from "zod";
import { KenpinError } from "./errors.ts";

/** Parses `value` by `schema`, or throws `invalid-input` naming the place, the fault and, for a key, the nearest one. */
export function parseAtDoor<S extends z.ZodType>(schema: S, value: unknown, what: string): z.infer<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  // A misspelt required key is both missing and unknown; only the second says what to mend.
  const issues = result.error.issues.flatMap(closest);
  const issue = (issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0]) as z.core.$ZodIssue;
  const place = issue.path.length > 0 ? ` at ${issue.path.join(".")}` : "";
  throw new KenpinError(
    "invalid-input",
    `${what}${place}: ${issue.code === "unrecognized_keys" ? misspelt(schema, issue) : issue.message}`,
  );
}

/** Of a union's branches, the faults of those that got furthest: where an object came, a branch that wants text says nothing. */
function closest(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return [issue];
  const branches = issue.errors.filter((faults) => !faults.some(({ code, path }) => code === "invalid_type" && path.length === 0));
  const inPlace = branches.flat().map((fault) => ({ ...fault, path: [...issue.path, ...fault.path] }));
  return inPlace.length > 0 ? inPlace.flatMap(closest) : [issue];
}

function misspelt(schema: z.ZodType, issue: z.core.$ZodIssueUnrecognizedKeys): string {
  const key = issue.keys[0] ?? "";
  const near = nearest(key, keysAt(schema, issue.path));
  return `unknown key "${key}"${near ? `, did you mean "${near}"?` : ""}`;
}

/** The keys an object schema takes at `path`, looking through arrays, unions, defaults and optionals. */
function keysAt(schema: z.ZodType, path: PropertyKey[]): string[] {
  const json = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  let nodes: JsonSchema[] = [json as JsonSchema];
  for (const step of path) {
    nodes = nodes.flatMap(variants).flatMap((node) => {
      const next = typeof step === "number" ? node.items : node.properties?.[String(step)];
      return next && typeof next === "object" ? [next] : [];
    });
  }
  return nodes.flatMap(variants).flatMap((node) => Object.keys(node.properties ?? {}));
}

type JsonSchema = { properties?: Record<string, JsonSchema>; items?: JsonSchema; anyOf?: JsonSchema[]; oneOf?: JsonSchema[] };

function variants(node: JsonSchema): JsonSchema[] {
  return [node, ...(node.anyOf ?? []).flatMap(variants), ...(node.oneOf ?? []).flatMap(variants)];
}

function nearest(word: string, candidates: string[]): string | null {
  const ranked = candidates.map((name) => ({ name, away: editDistance(word.toLowerCase(), name.toLowerCase()) }));
  ranked.sort((a, b) => a.away - b.away);
  const best = ranked[0];
  return best && best.away <= Math.max(2, Math.floor(word.length / 2)) ? best.name : null;
}

/** Letters to insert, drop or change. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(swap, (row[j] as number) + 1, (next[j - 1] as number) + 1);
    }
    row = next;
  }
  return row[b.length] as number;
}
