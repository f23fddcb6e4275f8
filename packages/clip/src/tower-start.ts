/**
 * One tower of a model from a file of its own, as EVA-CLIP begins (arXiv 2303.15389): the image tower from EVA's masked image
 * modelling, the text tower from any published CLIP.
 * In: a checkpoint, which tower, and what kind of file it is said to be. Out: that tower's tensors under this project's names,
 * and the names that such a file cannot have and that are drawn afresh.
 * A finished CLIP is not taken for a masked-image-modelling start: it has seen the captions already, and a comparison of starts
 * that uses it measures nothing.
 */
import { type Checkpoint, shown } from "./checkpoint.ts";
import { blockName, inShape, listed, TRUNK, unfit } from "./checkpoint-keys.ts";
import { type ModelConfig, tensorShapes } from "./model-config.ts";

export type TowerFile = { tower: "image"; kind: "masked-image-modelling" | "clip" } | { tower: "text" };
export type FittedTower = {
  /** Of the tower, by our names, in the configuration's order. */
  names: string[];
  /** Of the tower too, but not in the file: a projection into an embedding space that modelling has none of. */
  fresh: string[];
  changes: string[];
  tensor: (name: string) => Promise<Float32Array>;
};

/** What masked image modelling needs and contrastive training does not. */
const MODELLING_ONLY = /^(mask_token|lm_head\.|head\.|fc_norm\.|decoder|teacher|rope\.|.*rope)/;
const TEXT_NAMES = /^(transformer\.resblocks\.|token_embedding\.|positional_embedding$|ln_final\.|text_projection$)/;

export function fitTower(checkpoint: Checkpoint, config: ModelConfig, file: TowerFile): FittedTower {
  const stored = checkpoint.names.map((name) => ({ name, bare: name.replace(/^module\./, "") }));
  const isClip = stored.some(({ bare }) => bare.startsWith("visual.") || bare === "logit_scale");
  if (file.tower === "image" && file.kind === "masked-image-modelling" && isClip) {
    throw unfit(
      "it is a finished CLIP, no tower from masked image modelling; say `kind: clip` to start from it all the same, or name a tower's own file",
    );
  }
  const wanted = [...tensorShapes(config)].filter(([name]) => belongsTo(file.tower, name));
  const fresh = file.tower === "image" && !isClip ? wanted.map(([name]) => name).filter((name) => name.startsWith(`${TRUNK}head.`)) : [];
  const expected = new Map(wanted.filter(([name]) => !fresh.includes(name)));
  const found = new Map<string, string>();
  for (const { name, bare } of stored) {
    const ours = file.tower === "image" ? imageName(bare, isClip, config) : textName(bare);
    if (ours !== null) found.set(ours, name);
  }
  const missing = [...expected.keys()].filter((name) => !found.has(name));
  const left = [...found].filter(([name]) => !expected.has(name)).map(([, name]) => name);
  if (missing.length + left.length > 0) {
    const whole = `${missing.length} tensors missing${listed(missing)}, ${left.length} unexpected${listed(left)}`;
    throw unfit(`it holds no ${file.tower} tower of ${shown(config.name)}: ${whole}`);
  }
  return { names: [...expected.keys()], fresh, ...inShape(checkpoint, expected, found, config) };
}

function belongsTo(tower: TowerFile["tower"], name: string): boolean {
  return tower === "image" ? name.startsWith("visual.") : name.startsWith("text.");
}

/** Our name of a tensor of the image tower; null for what is none. */
function imageName(bare: string, isClip: boolean, { image }: ModelConfig): string | null {
  if (isClip) {
    if (!bare.startsWith("visual.") || bare.includes("rope")) return null;
    if (bare.startsWith(TRUNK)) return bare;
    return TRUNK + inBlock(bare.slice("visual.".length), image.subNorm);
  }
  return MODELLING_ONLY.test(bare) ? null : TRUNK + inBlock(bare, image.subNorm);
}

function inBlock(name: string, subNorm: boolean): string {
  return subNorm ? blockName(name) : name;
}

/** OpenAI's and open_clip's plain models keep the text tower at the top, open_clip's custom ones under "text.". */
function textName(bare: string): string | null {
  if (bare.startsWith("text.")) return bare;
  return TEXT_NAMES.test(bare) ? `text.${bare}` : null;
}
