/**
 * Splits pictures so that nothing of a group (part, lot, day) and no near copy stands on both sides: what a model has seen in
 * training it must not be judged by. Whole groups are dealt so that each label and kind of defect comes as near to the wanted
 * share as groups allow. The same pictures and seed give the same split, in whatever order they come.
 */
import { KenpinError } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import { createComponents } from "./components.ts";
import type { Picture } from "./picture.ts";

export type SplitOptions = {
  /** Share of each label that tests, between 0 and 1. */
  testRatio: number;
  seed: number;
  /** What must not be split; a picture's group by default. */
  by?: (picture: Picture) => string | null;
  /** Groups of indices whose pictures show the same (see checks/). */
  alike?: readonly (readonly number[])[];
};
export type Split = { train: Picture[]; test: Picture[] };
type Counts = Map<string, number>;

export function splitByGroup(
  pictures: readonly Picture[],
  { testRatio, seed, by = ({ group }) => group, alike = [] }: SplitOptions,
): Split {
  if (!(testRatio > 0 && testRatio < 1)) {
    throw new KenpinError("invalid-input", `the share that tests is between 0 and 1, not ${testRatio}; 0.2 takes every fifth group`);
  }
  const bundles = bundlesOf(pictures, by, alike);
  if (bundles.length < 2) {
    const why = `all ${pictures.length} pictures belong together, by their groups or as copies of each other`;
    const hint = "remove the copies, or record what tells the pictures apart (lot, day, part) as their group";
    throw new KenpinError("split-impossible", `${why}: nothing is left to judge by; ${hint}`);
  }
  const isTest = deal(bundles, testRatio, seed);
  const side = (test: boolean) => bundles.flatMap((bundle, k) => (isTest[k] === test ? bundle : []));
  return { train: side(false), test: side(true) };
}

/** Pictures that must stay together, each bundle and all of them in an order that their own names give. */
function bundlesOf(pictures: readonly Picture[], by: (picture: Picture) => string | null, alike: SplitOptions["alike"] = []): Picture[][] {
  const components = createComponents(pictures.length);
  const first = new Map<string, number>();
  const tie = (name: string, i: number) => {
    const other = first.get(name);
    if (other === undefined) first.set(name, i);
    else components.join(other, i);
  };
  for (const [i, picture] of pictures.entries()) {
    tie(`sha256 ${picture.sha256}`, i);
    const group = by(picture);
    if (group !== null) tie(`group ${group}`, i);
  }
  for (const [one = 0, ...others] of alike) for (const other of others) components.join(one, other);
  const bundles = components.groups().map((group) => group.map((i) => pictures[i] as Picture).sort((a, b) => order(a.key, b.key)));
  return bundles.sort(([a], [b]) => order((a as Picture).key, (b as Picture).key));
}

/**
 * Largest bundles first, each to the side where it brings the counts nearer to what is wanted; smaller ones then even out
 * what the large ones left. Which of equal size come first is chance.
 */
function deal(bundles: readonly Picture[][], testRatio: number, seed: number): boolean[] {
  const counts = bundles.map(countsOf);
  const totals = new Map<string, number>();
  for (const count of counts) for (const [stratum, n] of count) totals.set(stratum, (totals.get(stratum) ?? 0) + n);
  const test: Counts = new Map();
  const isTest = new Array<boolean>(bundles.length).fill(false);
  const shuffled = createRandom(seed).shuffle([...bundles.keys()]);
  for (const k of shuffled.sort((a, b) => (bundles[b] as Picture[]).length - (bundles[a] as Picture[]).length)) {
    const count = counts[k] as Counts;
    isTest[k] = gain(count, test, totals, testRatio) > 0;
    if (isTest[k]) for (const [stratum, n] of count) test.set(stratum, (test.get(stratum) ?? 0) + n);
  }
  keepBothSides(isTest, shuffled);
  return isTest;
}

/** By how much the squared distance from the wanted share falls, over all strata, when these pictures test. */
function gain(count: Counts, test: Counts, totals: Counts, testRatio: number): number {
  let sum = 0;
  for (const [stratum, n] of count) {
    const total = totals.get(stratum) as number;
    const missing = testRatio * total - (test.get(stratum) ?? 0);
    sum += (missing ** 2 - (missing - n) ** 2) / total ** 2;
  }
  return sum;
}

/** Few large groups may all fall on one side; the smallest one then goes over. */
function keepBothSides(isTest: boolean[], bySize: readonly number[]): void {
  const smallest = bySize.at(-1) as number;
  if (isTest.every((test) => test === isTest[smallest])) isTest[smallest] = !isTest[smallest];
}

function countsOf(bundle: readonly Picture[]): Counts {
  const counts: Counts = new Map();
  for (const { label, defect } of bundle) {
    const stratum = `${label} ${defect}`;
    counts.set(stratum, (counts.get(stratum) ?? 0) + 1);
  }
  return counts;
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
