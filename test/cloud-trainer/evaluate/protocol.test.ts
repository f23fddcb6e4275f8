/** Few-shot draws: balanced, spread over kinds, nothing on two sides, and what happens where pictures are few. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { dealFewShot, type Labelled } from "../../../cloud-trainer/src/evaluate/protocol.ts";

type Numbered = Labelled & { id: number };

test("each part is half good and half defective, kinds are spread evenly, and no picture is on two sides", () => {
  for (let seed = 0; seed < 20; seed++) {
    const {
      exemplars,
      calibration,
      test: judged,
    } = dealFewShot(set(90, { band: 20, hole: 30, dent: 40 }), { exemplars: 36, calibration: 30, test: 40 }, seed);
    assert.deepEqual([exemplars, calibration, judged].map(count), [
      { good: 18, bad: 18 },
      { good: 15, bad: 15 },
      { good: 20, bad: 20 },
    ]);
    assert.deepEqual(kinds(exemplars), { band: 6, dent: 6, hole: 6 });
    const ids = [...exemplars, ...calibration, ...judged].map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
  }
});

test("a kind that does not go up evenly favours no kind over many seeds, and a seed gives the same draw again", () => {
  const pictures = set(30, { a: 30, b: 30, c: 30 });
  const extra: Record<string, number> = {};
  for (let seed = 0; seed < 60; seed++) {
    const { exemplars } = dealFewShot(pictures, { exemplars: 20, calibration: 0, test: null }, seed);
    for (const [kind, n] of Object.entries(kinds(exemplars))) extra[kind] = (extra[kind] ?? 0) + Number(n === 4);
    assert.deepEqual(exemplars, dealFewShot(pictures, { exemplars: 20, calibration: 0, test: null }, seed).exemplars);
  }
  for (const kind of ["a", "b", "c"]) assert.ok((extra[kind] as number) > 8, JSON.stringify(extra));
});

test("too few pictures shorten the test first, then the calibration, never the exemplars; then it is refused in one line", () => {
  const small = dealFewShot(set(120, { x: 60, y: 60 }), { exemplars: 100, calibration: 100, test: 100 }, 1);
  assert.deepEqual(count(small.test), { good: 20, bad: 20 });
  const smaller = dealFewShot(set(70, { x: 70 }), { exemplars: 100, calibration: 100, test: 100 }, 1);
  assert.deepEqual(
    [count(smaller.calibration), count(smaller.test)],
    [
      { good: 19, bad: 19 },
      { good: 1, bad: 1 },
    ],
  );
  assert.throws(
    () => dealFewShot(set(50, { x: 90 }), { exemplars: 100, calibration: 0, test: null }, 1),
    /100 exemplars need 50 .* has 50 good and 90 defective/,
  );
  assert.throws(() => dealFewShot(set(50, {}), { exemplars: 2, calibration: 0, test: null }, 1), /50 good and 0 defective/);
  assert.throws(() => dealFewShot(set(5, { x: 5 }), { exemplars: 1, calibration: 0, test: null }, 1), /set has 5 good/);
});

function set(good: number, bad: Record<string, number>): Numbered[] {
  let id = 0;
  const of = (label: "good" | "bad", kind: string, n: number) => Array.from({ length: n }, (): Numbered => ({ id: id++, label, kind }));
  return [...of("good", "good", good), ...Object.entries(bad).flatMap(([kind, n]) => of("bad", kind, n))];
}

function count(part: readonly Labelled[]) {
  const good = part.filter(({ label }) => label === "good").length;
  return { good, bad: part.length - good };
}

function kinds(part: readonly Labelled[]): Record<string, number> {
  const out: Record<string, number> = {};
  for (const { label, kind } of [...part].sort((a, b) => (a.kind < b.kind ? -1 : 1))) if (label === "bad") out[kind] = (out[kind] ?? 0) + 1;
  return out;
}
