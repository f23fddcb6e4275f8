/**
 * What can be said of a surface, at several levels of detail, and of which surfaces it is true.
 * In: what the surface is made of and what is wrong with it. Out: captions with everything they claim, each as likely as `weight`
 * says among those that are true; `captionTable` lists all there are, for an engine that draws them itself.
 */
import type { Random } from "@kenpin/stats";
import { DEFECTS } from "./defect.ts";
import { type Flaw, MADE_WRONGLY, MATERIALS, type Material } from "./surface.ts";

/** `lacks` names a flaw that the caption says is not there. */
export type Caption = {
  text: string;
  material: string | null;
  state: "good" | "bad" | null;
  defect: string | null;
  lacks: string | null;
};
/** What captions speak of; a flaw by its name. */
export type Described = { material: Pick<Material, "name" | "words">; defect: Pick<Flaw, "name"> | null };
type Weighed = { caption: Caption; weight: number };

/** Everything that can be wrong, in the order in which shards number it. */
export const FLAWS: readonly Flaw[] = [...DEFECTS, ...MADE_WRONGLY];

const OPENINGS = ["a photo of", "a close-up of", ""];
const ANYTHING = ["a surface", "a part", "material"];
const GOOD = phrases(
  ["flawless", "perfect", "even", "undamaged", "clean", "intact", "normal"],
  ["without defects", "in good condition", "without damage"],
);
const BAD = phrases(["damaged", "defective", "flawed", "faulty"], ["with a defect", "with damage", "with a flaw", "with an anomaly"]);
/** Letters; the base model's text tower reads 24 tokens. */
const LONGEST = 46;
const NAMED_SHARE = 0.65;
const NOUN_ALONE_SHARE = 0.08;
const LACKING_SHARE = 0.05;

/** Draws one of the captions that are true of the surface. */
export function captionOf({ material, defect }: Described, random: Random): Caption {
  const { captions, sums } = choicesFor(material.name, defect?.name ?? null);
  const wanted = random.next() * (sums.at(-1) as number);
  let [low, high] = [0, sums.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sums[middle] as number) > wanted) high = middle;
    else low = middle + 1;
  }
  return captions[low] as Caption;
}

/** Whether the caption is true of the surface, however it was made: such a pair is no negative. */
export function isTrueOf(caption: Caption, { material, defect }: Described): boolean {
  if (caption.material !== null && caption.material !== material.name) return false;
  if (caption.state !== null && caption.state !== (defect ? "bad" : "good")) return false;
  if (caption.lacks !== null && caption.lacks === defect?.name) return false;
  return caption.defect === null || caption.defect === defect?.name;
}

let table: Weighed[] | null = null;
/** Every caption once, of every material and of none in particular. */
export function captionTable(): readonly Weighed[] {
  table ??= [
    ...MATERIALS.flatMap(({ name, words, flaws }) => {
      const possible = [...DEFECTS, ...flaws];
      return words.flatMap((noun) => saidOf({ noun, material: name, share: NAMED_SHARE / words.length }, possible));
    }),
    ...ANYTHING.flatMap((noun) => saidOf({ noun, material: null, share: (1 - NAMED_SHARE) / ANYTHING.length }, FLAWS)),
  ];
  return table;
}

type Choices = { captions: Caption[]; sums: number[] };
const known = new Map<string, Choices>();
function choicesFor(material: string, defect: string | null): Choices {
  const key = `${material}/${defect}`;
  const found = known.get(key) ?? trueOf({ material: { name: material, words: [] }, defect: defect === null ? null : { name: defect } });
  known.set(key, found);
  return found;
}

function trueOf(described: Described): Choices {
  const rows = captionTable().filter(({ caption }) => isTrueOf(caption, described));
  let sum = 0;
  return {
    captions: rows.map(({ caption }) => caption),
    sums: rows.map(({ weight }) => {
      sum += weight;
      return sum;
    }),
  };
}

type Phrase = (noun: string) => string;

/** Everything that can be said with one noun; the weights of what is true of one surface come to about `share`. */
function saidOf({ noun, material, share }: { noun: string; material: string | null; share: number }, flaws: readonly Flaw[]): Weighed[] {
  const claims = { material, state: null, defect: null, lacks: null };
  const rows = (list: Phrase[], weight: number, more: Partial<Caption>) =>
    list.flatMap((phrase) => {
      const body = phrase(noun);
      const openings = OPENINGS.filter((opening) => opening.length + body.length < LONGEST);
      return openings.map((opening) => ({
        caption: { ...claims, ...more, text: `${opening} ${body}`.trim() },
        weight: (share * weight) / (list.length * openings.length),
      }));
    });
  const own = ({ words, adjectives }: Flaw) => [
    ...phrases(
      adjectives,
      words.map((word) => `with ${word}`),
    ),
    ...words.map(on),
  ];
  return [
    ...rows([(said) => said], material === null ? 0 : NOUN_ALONE_SHARE, {}),
    ...rows(GOOD, 1, { state: "good" }),
    ...rows(BAD, 0.5, { state: "bad" }),
    ...flaws.flatMap((flaw) => rows(own(flaw), 0.5, { state: "bad", defect: flaw.name })),
    ...flaws.flatMap(({ name, words }) => rows([after(`without ${words[0]}`)], LACKING_SHARE / flaws.length, { lacks: name })),
  ].filter(({ weight }) => weight > 0);
}

function phrases(adjectives: readonly string[], ends: readonly string[]): Phrase[] {
  return [...adjectives.map(before), ...ends.map(after)];
}

function after(end: string): Phrase {
  return (noun) => `${noun} ${end}`;
}

function on(word: string): Phrase {
  return (noun) => `${word} on ${noun}`;
}

/** "a casting" → "a flawless casting", "paint" → "flawless paint". */
function before(adjective: string): Phrase {
  return (noun) => {
    const [, article, bare] = /^(an? )?(.*)$/.exec(noun) as unknown as [string, string | undefined, string];
    if (article === undefined) return `${adjective} ${bare}`;
    return `${/^[aeiou]/.test(adjective) ? "an" : "a"} ${adjective} ${bare}`;
  };
}
