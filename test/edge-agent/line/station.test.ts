/** One answer for a part that several cameras see, in time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Camera, type StationAnswer, type Verdict } from "@kenpin/schema";
import fc from "fast-check";
import { pino } from "pino";
import { type PartTrigger, Station } from "../../../edge-agent/src/line/station.ts";

const RANK = { pass: 0, unknown: 1, fail: 2 };

test("the worst of the cameras decides, whatever order they answer in", async () => {
  const outcome = fc.constantFrom<Verdict["outcome"]>("pass", "fail", "unknown");
  await fc.assert(
    fc.asyncProperty(fc.array(outcome, { minLength: 1, maxLength: 5 }), fc.integer(), async (outcomes, seed) => {
      const names = outcomes.map((_, i) => `camera-${i}`);
      const { station, told } = stationOf(names);
      const answer = station.trigger(now("part-1"));
      const order = names
        .map((name, i) => ({ name, outcome: outcomes[i] as Verdict["outcome"] }))
        .sort((a, b) => hash(a.name, seed) - hash(b.name, seed));
      for (const { name, outcome: said } of order) await station.take(name, "part-1", performance.now(), { outcome: said });
      const worst = outcomes.reduce((a, b) => (RANK[b] > RANK[a] ? b : a));
      assert.deepEqual([(await answer).outcome, (await answer).late], [worst, false]);
      assert.equal(told.length, 1);
    }),
    { numRuns: 60 },
  );
});

test("a camera that has not answered by the deadline is unknown, and what it says later changes nothing", async () => {
  const { station, told } = stationOf(["top", "side"], 80);
  const answer = station.trigger(now("part-1"));
  await station.take("top", "part-1", performance.now(), { outcome: "pass" });
  const { outcome, late, cameras, ms } = await answer;
  assert.deepEqual([outcome, late], ["unknown", true]);
  assert.deepEqual(cameras, [
    { camera: "top", outcome: "pass" },
    { camera: "side", outcome: "unknown", reason: "deadline-missed" },
  ]);
  assert.ok(ms >= 75, String(ms));
  assert.ok(station.isLate("side", "part-1"));
  await station.take("side", "part-1", performance.now(), { outcome: "fail" });
  assert.equal(told.length, 1);
  assert.ok(!station.isLate("side", "part-1"), "it has said its word");
});

test("a camera that failed the part in time fails it, though another one is late", async () => {
  const { station } = stationOf(["top", "side"], 50);
  const answer = station.trigger(now("part-1"));
  await station.take("top", "part-1", performance.now(), { outcome: "fail" });
  assert.deepEqual([(await answer).outcome, (await answer).late], ["fail", true]);
});

test("a part whose trigger is older than the deadline is unknown at once", async () => {
  const { station, asked } = stationOf(["top"], 1000);
  const at = performance.now();
  const { outcome, late } = await station.trigger({ id: "old", at, since: at - 2000 });
  assert.deepEqual([outcome, late], ["unknown", true]);
  assert.ok(performance.now() - at < 500);
  assert.deepEqual(asked, ["top old"]); // its frame is answered too, as missing
});

test("the same trigger twice asks once, and an id that is used again is a new part", async () => {
  const { station, asked, told } = stationOf(["top"]);
  const [first, second] = [station.trigger(now("part-1")), station.trigger(now("part-1"))];
  await station.take("top", "part-1", performance.now(), { outcome: "pass" });
  assert.equal(await first, await second);
  const again = station.trigger(now("part-1"));
  await station.take("top", "part-1", performance.now(), { outcome: "fail" });
  assert.equal((await again).outcome, "fail");
  assert.deepEqual([asked.length, told.length], [2, 2]);
});

test("frames that name their part themselves open it with the first one, also round after round", async () => {
  const { station, told } = stationOf(["top", "side"], 60);
  await station.take("top", "a", performance.now(), { outcome: "pass" });
  await station.take("side", "a", performance.now(), { outcome: "pass" });
  await station.take("top", "a", performance.now(), { outcome: "fail" }); // the name comes again, now without its other side
  await sleep(120);
  assert.deepEqual(
    told.map(({ outcome, late }) => [outcome, late]),
    [
      ["pass", false],
      ["fail", true],
    ],
  );
});

test("an output that hangs or fails does not keep the answer back for long", async () => {
  for (const output of [() => new Promise<void>(() => undefined), () => Promise.reject(new Error("the PLC is away"))]) {
    const { station } = stationOf(["top"], 5000, output);
    const answer = station.trigger(now("part-1"));
    const at = performance.now();
    await station.take("top", "part-1", at, { outcome: "pass" });
    assert.equal((await answer).outcome, "pass");
    assert.ok(performance.now() - at < 2000);
  }
});

function stationOf(names: string[], deadlineMs = 5000, output?: () => Promise<void>) {
  const told: StationAnswer[] = [];
  const asked: string[] = [];
  const station = new Station({
    name: "press",
    cameras: names.map((name) => Camera.parse({ name, deadlineMs, source: { kind: "push" } })),
    ask: (camera, { id }) => asked.push(`${camera} ${id}`),
    output: async (answer) => {
      told.push(answer);
      await output?.();
    },
    log: pino({ level: "silent" }),
  });
  return { station, told, asked };
}

function now(id: string): PartTrigger {
  return { id, at: performance.now(), since: performance.now() };
}

function hash(name: string, seed: number): number {
  return Math.imul(name.charCodeAt(name.length - 1) ^ seed, 0x9e3779b1) >>> 0;
}
