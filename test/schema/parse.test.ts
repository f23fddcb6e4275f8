/** What somebody reads who mistyped a key: where it is, and which right one is nearest. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentConfig, errorLine, KenpinError, parseAtDoor } from "@kenpin/schema";
import { z } from "zod";

const Inner = z.strictObject({ intervalMs: z.int().default(100), url: z.string() });
const Config = z.strictObject({
  site: z.string(),
  broker: Inner,
  cameras: z.array(z.strictObject({ name: z.string(), deadlineMs: z.int().optional() })),
  source: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("folder"), path: z.string() }),
    z.strictObject({ kind: z.literal("stream"), address: z.string() }),
  ]),
});
const GOOD = { site: "a", broker: { url: "mqtt://x" }, cameras: [{ name: "line" }], source: { kind: "folder", path: "/in" } };

function refusalOf(value: unknown): string {
  try {
    parseAtDoor(Config, value, "agent.yaml");
  } catch (error) {
    assert.ok(error instanceof KenpinError);
    assert.equal(error.code, "invalid-input");
    assert.ok(!error.message.includes("\n"));
    return error.message;
  }
  throw new Error("nothing was refused");
}

test("good input comes back with its defaults", () => {
  assert.deepEqual(parseAtDoor(Config, GOOD, "agent.yaml"), { ...GOOD, broker: { url: "mqtt://x", intervalMs: 100 } });
});

test("a misspelt key names the nearest right one, at the top, within objects, lists and alternatives", () => {
  assert.equal(refusalOf({ ...GOOD, sites: "a" }), 'agent.yaml: unknown key "sites", did you mean "site"?');
  assert.equal(
    refusalOf({ ...GOOD, broker: { url: "x", intervallMS: 5 } }),
    'agent.yaml at broker: unknown key "intervallMS", did you mean "intervalMs"?',
  );
  assert.equal(
    refusalOf({ ...GOOD, cameras: [{ name: "a" }, { name: "b", deadlineMS: 5 }] }),
    'agent.yaml at cameras.1: unknown key "deadlineMS", did you mean "deadlineMs"?',
  );
  assert.equal(
    refusalOf({ ...GOOD, source: { kind: "stream", adress: "x" } }),
    'agent.yaml at source: unknown key "adress", did you mean "address"?',
  );
});

test("a misspelt key that must be there is called misspelt, not missing", () => {
  const { site: _, ...rest } = GOOD;
  assert.equal(refusalOf({ ...rest, siet: "a" }), 'agent.yaml: unknown key "siet", did you mean "site"?');
});

test("a key like no other is only called unknown", () => {
  assert.equal(refusalOf({ ...GOOD, temperature: 3 }), 'agent.yaml: unknown key "temperature"');
});

test("a wrong value says where it is and what was expected, in one line with its code", () => {
  const message = refusalOf({ ...GOOD, cameras: [{ name: 7 }] });
  assert.match(message, /^agent\.yaml at cameras\.0\.name: .*expected string/);
  for (const nothing of [null, undefined, 7, "text", []]) assert.match(refusalOf(nothing), /^agent\.yaml: .*expected object/);
  assert.match(errorLine(new KenpinError("invalid-input", message)), /\[invalid-input\]$/);
  assert.equal(errorLine(new Error("plain")), "plain");
  assert.equal(errorLine("thrown text"), "thrown text");
});

test("the agent's own configuration: a misspelt key in a camera is found", () => {
  const value = { cameras: [{ name: "line", evidense: "frame" }] };
  assert.throws(() => parseAtDoor(AgentConfig, value, "agent.yaml"), /at cameras\.0: unknown key "evidense", did you mean "evidence"\?/);
});
