/** Splits that leak nothing, and which pictures may judge. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { KenpinError } from "@kenpin/schema";
import fc from "fast-check";
import { forJudging } from "../../../cloud-trainer/src/samples/for-judging.ts";
import { openPictureSet, type Picture } from "../../../cloud-trainer/src/samples/picture-set.ts";
import { splitByGroup } from "../../../cloud-trainer/src/samples/split.ts";
import { splitTable } from "../../../cloud-trainer/src/samples/split-table.ts";
import { freshFolder, place, surface } from "./made-set.ts";

function picture(i: number, known: Partial<Picture> = {}): Picture {
  const blank = { label: null, defect: null, captions: [], mask: null, group: null, split: null, reason: null, drawProbability: null };
  return { key: `p${i}`, sha256: `sha ${i}`, bytes: async () => new Uint8Array(), ...blank, ...known };
}

const many = (count: number, known: (i: number) => Partial<Picture>) => Array.from({ length: count }, (_, i) => picture(i, known(i)));
const shared = <T>(one: Set<T>, other: Set<T>) => [...one].filter((item) => other.has(item));
const keys = (pictures: readonly Picture[]) => pictures.map(({ key }) => key).sort();

test("without groups each label and kind of defect is split in the wanted share", () => {
  const pictures = many(200, (i) => (i < 120 ? { label: "good" } : { label: "bad", defect: i < 160 ? "tear" : "stain" }));
  const { train, test: judged } = splitByGroup(pictures, { testRatio: 0.25, seed: 3 });
  assert.deepEqual(keys([...train, ...judged]), keys(pictures));
  const count = (defect: string | null, label: string) => judged.filter((one) => one.defect === defect && one.label === label).length;
  assert.deepEqual([count(null, "good"), count("tear", "bad"), count("stain", "bad")], [30, 10, 10]);
});

test("a group never stands on both sides, and shares come near what is wanted where groups allow", () => {
  const pictures = many(300, (i) => ({ group: `lot ${Math.floor(i / 10)}`, label: i % 3 === 0 ? "bad" : "good" }));
  const { train, test: judged } = splitByGroup(pictures, { testRatio: 0.2, seed: 1 });
  const lots = (side: Picture[]) => new Set(side.map(({ group }) => group));
  assert.deepEqual(shared(lots(train), lots(judged)), []);
  assert.ok(Math.abs(judged.length - 60) <= 10, `${judged.length}`);
  const bad = judged.filter(({ label }) => label === "bad").length;
  assert.ok(Math.abs(bad - 20) <= 4, `${bad}`);
});

test("near copies and equal pictures stay together, over the borders of groups too", () => {
  const pictures = many(40, (i) => ({ group: `g${i % 20}`, ...(i === 7 || i === 31 ? { sha256: "same" } : {}) }));
  for (let seed = 0; seed < 20; seed++) {
    const { test: judged } = splitByGroup(pictures, { testRatio: 0.3, seed, alike: [[0, 5, 12]] });
    const side = (i: number) => judged.some(({ key }) => key === `p${i}`);
    assert.equal(new Set([0, 5, 12, 20, 25, 32].map(side)).size, 1);
    assert.equal(side(7), side(31));
  }
});

test("a split is whole, without overlap, the same for the same seed in whatever order pictures come", () => {
  const sets = fc.array(
    fc.record({ group: fc.option(fc.constantFrom("a", "b", "c", "d")), label: fc.constantFrom("good" as const, "bad" as const) }),
    {
      minLength: 8,
      maxLength: 60,
    },
  );
  fc.assert(
    fc.property(sets, fc.nat(1000), fc.double({ min: 0.05, max: 0.95, noNaN: true }), (rows, seed, testRatio) => {
      const pictures = rows.map((known, i) => picture(i, known));
      fc.pre(new Set(pictures.map(({ group, key }) => group ?? key)).size > 1);
      const one = splitByGroup(pictures, { testRatio, seed });
      const other = splitByGroup(pictures.toReversed(), { testRatio, seed });
      assert.deepEqual(keys(one.test), keys(other.test));
      assert.deepEqual(keys([...one.train, ...one.test]), keys(pictures));
      assert.ok(one.train.length > 0 && one.test.length > 0);
      const groups = (side: Picture[]) => new Set(side.flatMap(({ group }) => group ?? []));
      assert.deepEqual(shared(groups(one.train), groups(one.test)), []);
    }),
  );
  const pictures = many(100, () => ({}));
  const split = (seed: number) => keys(splitByGroup(pictures, { testRatio: 0.3, seed }).test);
  assert.notDeepEqual(split(1), split(2));
});

test("another property than the group may be what must not be split", () => {
  const pictures = many(60, (i) => ({ captions: [`day ${i % 6}`] }));
  const day = ({ captions }: Picture) => captions[0] ?? null;
  const { train, test: judged } = splitByGroup(pictures, { testRatio: 0.3, seed: 1, by: day });
  assert.deepEqual(shared(new Set(train.map(day)), new Set(judged.map(day))), []);
});

test("one lot alone cannot be split, and a share must be one", () => {
  const pictures = many(10, () => ({ group: "only" }));
  assert.throws(() => splitByGroup(pictures, { testRatio: 0.2, seed: 1 }), /all 10 pictures belong together.*nothing is left to judge by/);
  assert.throws(
    () =>
      splitByGroup(
        many(4, () => ({})),
        { testRatio: 1, seed: 1 },
      ),
    /between 0 and 1, not 1/,
  );
});

test("a split written as a table is opened as it was dealt", async () => {
  const root = await place(await freshFolder(), {
    'good/lot "3", a/1.png': await surface(1),
    "good/lot 4/2.png": await surface(2),
    "ひび/3.png": await surface(3),
    "ひび/4.png": await surface(4),
  });
  const set = await openPictureSet(root, { drawProbability: 0.25 });
  const split = splitByGroup(set.pictures, { testRatio: 0.5, seed: 1 });
  await place(root, { "split.csv": splitTable(set, split) });
  const again = await openPictureSet(`${root}/split.csv`);
  const sides = (pictures: Picture[]) => keys(pictures.filter((one) => one.split === "test"));
  assert.deepEqual(sides(again.pictures), keys(split.test));
  const known = ({ key, label, defect, group, drawProbability, reason }: Picture) => [key, label, defect, group, drawProbability, reason];
  const sorted = (pictures: Picture[]) => pictures.map(known).sort();
  assert.deepEqual(sorted(again.pictures), sorted(set.pictures));
  assert.throws(() => splitTable({ ...set, root: null }, split), /pictures in shards have no paths/);
});

test("only pictures that chance drew with a known chance judge, and rare draws weigh more", () => {
  const drawn = [picture(1, { reason: "random", drawProbability: 0.01 }), picture(2, { reason: "random", drawProbability: 0.5 })];
  const others = [
    picture(3, { reason: "chosen", drawProbability: 0.01 }),
    picture(4, { reason: "random" }),
    picture(5, { reason: "random", drawProbability: 0 }),
    picture(6),
  ];
  assert.deepEqual(
    forJudging([...others, ...drawn]).map(({ picture: { key }, weight }) => [key, weight]),
    [
      ["p1", 100],
      ["p2", 2],
    ],
  );
  assert.throws(
    () => forJudging(others),
    (error: unknown) =>
      error instanceof KenpinError && error.code === "nothing-to-judge-by" && /none of 4.*1 were chosen/.test(error.message),
  );
});

test("weighted by their chances, drawn pictures give the line's own rate, which their plain share does not", () => {
  // A camera draws one in 10 on Mondays, when a fifth is bad, and one in 100 on other days, when nothing is.
  const monday = many(100, (i) => ({ label: i < 20 ? "bad" : "good", reason: "random", drawProbability: 0.1 }));
  const others = many(40, () => ({ label: "good", reason: "random", drawProbability: 0.01 }));
  const judging = forJudging([...monday, ...others]);
  const total = judging.reduce((sum, { weight }) => sum + weight, 0);
  const bad = judging.reduce((sum, { picture: { label }, weight }) => sum + (label === "bad" ? weight : 0), 0);
  assert.ok(Math.abs(bad / total - 200 / 5000) < 1e-12);
});
