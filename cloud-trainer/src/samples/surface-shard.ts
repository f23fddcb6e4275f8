/**
 * Generated surfaces as files that another engine can map: pictures and masks as bytes, captions as token ids.
 *
 *   index.json    Index below: sizes, every distinct caption with what it claims, the words patches are held against
 *   pictures.u8   [N, 3, S, S]     masks.u8   [N, S, S]     labels.i32   [N, 2 + K]: material, defect or −1, K captions
 */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createTokenizer, type ModelConfig } from "@kenpin/clip";
import { createRandom } from "@kenpin/stats";
import { surfacePool } from "./batch.ts";
import { type Caption, captionOf, FLAWS } from "./caption.ts";
import { MATERIALS } from "./surface.ts";
import { BASE_WORDS } from "./words.ts";

export type ShardOptions = { config: ModelConfig; out: string; seed: number; count: number };

/** Captions drawn for each surface; a trainer picks one of them at each visit. */
const CAPTIONS = 4;
const CHUNK = 500;

export function writeSurfaceShard({ config, out, seed, count }: ShardOptions, onProgress: (done: number) => void): void {
  mkdirSync(out, { recursive: true });
  const random = createRandom(seed + 1);
  const captions = new Map<string, { caption: Caption; id: number }>();
  const labels = new Int32Array(count * (2 + CAPTIONS));
  const files = { pictures: openSync(join(out, "pictures.u8"), "w"), masks: openSync(join(out, "masks.u8"), "w") };
  for (let done = 0; done < count; done += CHUNK) {
    const chunk = surfacePool(seed + 2 + done, config.image.size, Math.min(CHUNK, count - done), () => undefined);
    for (const [i, surface] of chunk.entries()) {
      writeSync(files.pictures, surface.rgb);
      writeSync(files.masks, surface.mask);
      const row = [MATERIALS.indexOf(surface.material), flawAt(surface.defect?.name)];
      for (let k = 0; k < CAPTIONS; k++) {
        const caption = captionOf(surface, random);
        const known = captions.get(caption.text) ?? { caption, id: captions.size };
        captions.set(caption.text, known);
        row.push(known.id);
      }
      labels.set(row, (done + i) * row.length);
    }
    onProgress(done + chunk.length);
  }
  closeSync(files.pictures);
  closeSync(files.masks);
  writeFileSync(join(out, "labels.i32"), labels);
  const { encode } = createTokenizer(config.text);
  const claims = [...captions.values()].map(({ caption: { text, material, state, defect, lacks } }) => ({
    text,
    ids: [...encode(text)],
    material: material === null ? -1 : MATERIALS.findIndex(({ name }) => name === material),
    state: state === null ? -1 : Number(state === "bad"),
    defect: flawAt(defect),
    lacks: flawAt(lacks),
  }));
  const words = { good: BASE_WORDS.good.map((text) => [...encode(text)]), bad: BASE_WORDS.bad.map((text) => [...encode(text)]) };
  const names = { materials: MATERIALS.map(({ name }) => name), defects: FLAWS.map(({ name }) => name) };
  const index = { model: config, seed, count, captionsEach: CAPTIONS, captions: claims, words, ...names };
  writeFileSync(join(out, "index.json"), JSON.stringify(index));
}

function flawAt(flaw: string | null | undefined): number {
  return FLAWS.findIndex(({ name }) => name === flaw);
}
