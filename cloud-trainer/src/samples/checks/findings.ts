/**
 * What is wrong with a set, before the first step: pictures that cannot be read, that are there twice, that contradict each
 * other, that leak from training into judging, or that show nothing. In: a set and what was seen of its pictures.
 * Out: one finding a kind, errors first, each with what to do about it. Limits of light and sharpness are relative to the set
 * where one set's usual is another's fault.
 */
import { createTokenizer, type ModelConfig } from "@kenpin/clip";
import type { Picture, PictureSet } from "../picture.ts";
import { FINDING_TEXTS, type FindingKind, type Language, wordsOf } from "./finding-texts.ts";
import type { Look } from "./look.ts";
import type { Seen } from "./looks.ts";

export type Finding = {
  kind: FindingKind;
  severity: "error" | "warning";
  /** Keys of some of them. */
  pictures: string[];
  count: number;
  message: string;
  advice: string;
};

/** A list to look through by hand. */
const NAMED = 20;
const BLACK_MEAN = 12;
const BLACK_BRIGHTEST = 48;
/** A white background is usual; half the picture more than usual is not. */
const OVER_EXPOSED_SHARE = 0.5;
/** A blur of two pixels takes a sharp texture's figure to a hundredth and a soft part's to a sixth; an eighth is between. */
const BLURRED_RATIO = 1 / 8;
const IMBALANCE = 10;
/** Longer than any text a person writes of a part, so that the tokenizer cuts nothing off that is to be counted. */
const COUNTED_TOKENS = 20_000;

type Input = { set: PictureSet; seen: readonly Seen[]; alike: readonly number[][]; config: ModelConfig | null; language: Language };
type Figures = Record<string, string | number>;
/** `places` are indices of the set's pictures. */
type Draft = { kind: FindingKind; places: readonly number[]; figures?: Figures; names?: readonly string[] };

export function findingsIn(input: Input): Finding[] {
  const { set, language } = input;
  const drafts = [
    ...fileDrafts(input),
    ...copyDrafts(input),
    ...sideDrafts(input),
    ...lookDrafts(input),
    ...labelDrafts(set),
    ...captionDrafts(input),
  ];
  const findings = drafts
    .filter(({ places, names }) => places.length > 0 || names !== undefined)
    .map(({ kind, places, figures = {}, names }): Finding => {
      const count = names?.length ?? places.length;
      const pictures = (names ?? places.map((i) => (set.pictures[i] as Picture).key)).slice(0, NAMED);
      return { kind, severity: FINDING_TEXTS[kind].severity, pictures, count, ...wordsOf(kind, language, { count, ...figures }) };
    });
  return findings.sort((a, b) => Number(b.severity === "error") - Number(a.severity === "error"));
}

function fileDrafts({ set, seen }: Input): Draft[] {
  const places = (wanted: (seen: Seen) => boolean) => [...seen.keys()].filter((i) => wanted(seen[i] as Seen));
  const unreadable = places(({ problem, bytes, type }) => problem !== null && bytes > 0 && type !== null);
  const lying = places(({ look, type, claimed }) => set.root !== null && look !== null && claimed !== null && type !== claimed);
  const misfit = places(({ maskProblem }) => maskProblem !== null);
  const first = (list: number[]) => seen[list[0] ?? -1];
  return [
    { kind: "empty-file", places: places(({ bytes }) => bytes === 0) },
    { kind: "not-a-picture", places: places(({ bytes, type }) => bytes > 0 && type === null) },
    { kind: "unreadable", places: unreadable, figures: { why: first(unreadable)?.problem ?? "" } },
    { kind: "wrong-ending", places: lying, figures: { type: first(lying)?.type ?? "" } },
    { kind: "mask-mismatch", places: misfit, figures: { why: first(misfit)?.maskProblem ?? "" } },
    ...(set.skipped.length > 0 ? [{ kind: "skipped", places: [], names: set.skipped } as const] : []),
    ...(set.emptyKinds.length > 0
      ? [{ kind: "empty-kind", places: [], names: set.emptyKinds, figures: { folders: set.emptyKinds.join(", ") } } as const]
      : []),
  ];
}

/** Copies, and copies with contradicting labels. */
function copyDrafts({ set, seen, alike }: Input): Draft[] {
  const same = sameAmong(set, seen);
  const contradicts = (group: readonly number[]) =>
    hasBoth(
      group.map((i) => set.pictures[i]?.label),
      "good",
      "bad",
    );
  const isSame = new Map(same.flatMap((group, k) => group.map((i) => [i, k] as const)));
  // Exact copies are near ones too; only groups that hold more than one picture say something new.
  const near = alike.filter((group) => new Set(group.map((i) => isSame.get(i) ?? `own ${i}`)).size > 1);
  return [
    { kind: "duplicates", places: same.flat(), figures: { groups: same.length } },
    { kind: "labels-contradict", places: same.filter(contradicts).flat() },
    { kind: "near-duplicates", places: near.flat(), figures: { groups: near.length } },
    { kind: "alike-contradict", places: near.filter(contradicts).flat() },
  ];
}

/** What stands on both sides of the split that the set came with. */
function sideDrafts({ set, seen, alike }: Input): Draft[] {
  const isSplit = (group: readonly number[]) =>
    hasBoth(
      group.map((i) => set.pictures[i]?.split),
      "train",
      "test",
    );
  const groups = groupedBy(set.pictures.keys(), (i) => set.pictures[i]?.group ?? null);
  const same = sameAmong(set, seen).filter(isSplit).flat();
  const told = new Set(same);
  return [
    { kind: "group-on-both-sides", places: groups.filter(isSplit).flat() },
    { kind: "picture-on-both-sides", places: same },
    {
      kind: "alike-on-both-sides",
      places: alike
        .filter(isSplit)
        .flat()
        .filter((i) => !told.has(i)),
    },
  ];
}

function lookDrafts({ seen, config }: Input): Draft[] {
  const places = [...seen.keys()].filter((i) => seen[i]?.look);
  const look = (i: number) => seen[i]?.look as Look;
  const size = config?.image.size ?? 0;
  const black = places.filter((i) => look(i).mean < BLACK_MEAN && look(i).brightest < BLACK_BRIGHTEST);
  const usualShare = median(places.map((i) => look(i).brightShare));
  const white = places.filter((i) => look(i).brightShare > usualShare + OVER_EXPOSED_SHARE || look(i).brightShare > 0.99);
  const usualSharpness = median(places.map((i) => look(i).sharpness));
  const dull = new Set([...black, ...white]);
  const blurred = places.filter((i) => look(i).sharpness < usualSharpness * BLURRED_RATIO && !dull.has(i));
  const highest = white.reduce((most, i) => Math.max(most, look(i).brightShare), 0);
  const lowest = blurred.reduce((least, i) => Math.min(least, look(i).sharpness), Number.POSITIVE_INFINITY);
  const percent = (share: number) => (share * 100).toFixed(0);
  return [
    { kind: "too-small", places: places.filter((i) => Math.min(look(i).width, look(i).height) < size), figures: { size } },
    { kind: "black", places: black, figures: { limit: BLACK_MEAN } },
    { kind: "over-exposed", places: white, figures: { share: percent(highest), usual: percent(usualShare) } },
    { kind: "blurred", places: blurred, figures: { lowest: lowest.toPrecision(2), usual: usualSharpness.toPrecision(2) } },
  ];
}

function labelDrafts({ pictures }: PictureSet): Draft[] {
  const places = (label: Picture["label"]) => [...pictures.keys()].filter((i) => pictures[i]?.label === label);
  const [good, bad, unlabelled] = [places("good"), places("bad"), places(null)];
  const drafts: Draft[] = [{ kind: "unlabelled", places: unlabelled }];
  const rarer = Math.min(good.length, bad.length);
  if (good.length + bad.length > 0 && good.length === 0) drafts.push({ kind: "no-good", places: [], names: [] });
  if (good.length + bad.length > 0 && bad.length === 0) drafts.push({ kind: "no-bad", places: [], names: [] });
  if (rarer > 0 && Math.max(good.length, bad.length) > IMBALANCE * rarer) {
    drafts.push({ kind: "imbalance", places: [], names: [], figures: { good: good.length, bad: bad.length, limit: IMBALANCE } });
  }
  if (!pictures.some(({ reason, drawProbability }) => reason === "random" && drawProbability !== null)) {
    drafts.push({ kind: "nothing-random", places: [], names: [] });
  }
  return drafts;
}

function captionDrafts({ set: { pictures }, config }: Input): Draft[] {
  if (!pictures.some(({ captions }) => captions.length > 0)) return [];
  const drafts: Draft[] = [{ kind: "caption-empty", places: [...pictures.keys()].filter((i) => pictures[i]?.captions.length === 0) }];
  if (!config) return drafts;
  const { encode, endId } = createTokenizer({ merges: config.text.merges, context: COUNTED_TOKENS });
  const known = new Map<string, number>(); // captions repeat: a table has few sentences and many rows
  const tokens = (caption: string) => {
    const count = known.get(caption) ?? encode(caption).indexOf(endId) + 1;
    if (known.size < 100_000) known.set(caption, count);
    return count;
  };
  const longest = pictures.map(({ captions }) => captions.reduce((most, caption) => Math.max(most, tokens(caption)), 0));
  const { context } = config.text;
  const places = [...longest.keys()].filter((i) => (longest[i] as number) > context);
  return [...drafts, { kind: "caption-too-long", places, figures: { context, longest: longest.reduce((a, b) => Math.max(a, b), 0) } }];
}

/** Groups of places whose pictures are the same, by bytes or by pixels. */
function sameAmong({ pictures }: PictureSet, seen: readonly Seen[]): number[][] {
  return groupedBy(pictures.keys(), (i) => seen[i]?.look?.pixels ?? pictures[i]?.sha256 ?? null).filter((group) => group.length > 1);
}

function groupedBy(places: Iterable<number>, nameOf: (i: number) => string | null): number[][] {
  const groups = new Map<string, number[]>();
  for (const i of places) {
    const name = nameOf(i);
    if (name === null) continue;
    const group = groups.get(name);
    if (group) group.push(i);
    else groups.set(name, [i]);
  }
  return [...groups.values()];
}

function hasBoth<T>(values: readonly T[], one: T, other: T): boolean {
  return values.includes(one) && values.includes(other);
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
