/**
 * Every caption as a file for an engine that draws surfaces itself: JSON of captions with their tokens, what they claim (numbers of
 * `materials` and `defects`, −1 for nothing) and how likely each is among those that are true. Out: captions.json's text.
 */
import { createTokenizer, type ModelConfig } from "@kenpin/clip";
import { captionTable, FLAWS } from "./caption.ts";
import { MATERIALS } from "./surface.ts";

export function captionFile({ text }: Pick<ModelConfig, "text">): string {
  const { encode } = createTokenizer(text);
  const [materials, defects] = [MATERIALS.map(({ name }) => name), FLAWS.map(({ name }) => name)];
  const captions = captionTable().map(({ caption: { text: words, material, state, defect, lacks }, weight }) => ({
    text: words,
    ids: withoutPadding(encode(words)),
    material: material === null ? -1 : materials.indexOf(material),
    state: state === null ? -1 : Number(state === "bad"),
    defect: defect === null ? -1 : defects.indexOf(defect),
    lacks: lacks === null ? -1 : defects.indexOf(lacks),
    weight,
  }));
  return JSON.stringify({ materials, defects, captions });
}

function withoutPadding(ids: Int32Array): number[] {
  const end = ids.findLastIndex((id) => id !== 0);
  return [...ids.subarray(0, end + 1)];
}
