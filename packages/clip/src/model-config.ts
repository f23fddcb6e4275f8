/**
 * The architecture of one model of the EVA-CLIP family, one JSON file each under models/.
 * Sizes in pixels, tokens and channels; from arXiv 2303.15389 table 1, arXiv 2303.11331 and the released configurations.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import { z } from "zod";

const FOLDER = join(import.meta.dirname, "../models");
const Channels = z.tuple([z.number(), z.number(), z.number()]);

export const ModelConfig = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/),
  embedDim: z.int().min(1),
  image: z.strictObject({
    size: z.int().min(8).max(4096),
    patch: z.int().min(1),
    width: z.int().min(1),
    depth: z.int().min(1),
    headDim: z.int().min(2),
    /** swiglu: SiLU(w1 x)·(w2 x) → norm → w3 (EVA-02 B and L); gelu: exact GELU (g and E). */
    mlp: z.enum(["swiglu", "gelu"]),
    mlpHidden: z.int().min(1),
    /** A norm between attention and its output projection, as EVA-02's B and L have. */
    subNorm: z.boolean(),
    rotary: z.boolean(),
    /** pre: x + f(LN(x)); post: x + LN(f(x)), as the E models. */
    norm: z.enum(["pre", "post"]),
    normEps: z.number().positive(),
  }),
  text: z.strictObject({
    width: z.int().min(1),
    heads: z.int().min(1),
    layers: z.int().min(1),
    context: z.int().min(4).max(1024),
    /** How many of CLIP's merges the vocabulary keeps: 48,894 is CLIP's own; fewer make a small table that still spells any text. */
    merges: z.int().min(0).max(48_894),
  }),
  preprocess: z.strictObject({ mean: Channels, std: Channels }),
});
export type ModelConfig = z.infer<typeof ModelConfig>;

/** The configuration called `name`, or an error that lists the names there are. */
export function modelConfig(name: string): ModelConfig {
  const known = readdirSync(FOLDER).map((file) => file.replace(/\.json$/, ""));
  if (!known.includes(name)) throw new KenpinError("unknown-model", `no model is called "${name}"; known: ${known.sort().join(", ")}`);
  return parseModelConfig(JSON.parse(readFileSync(join(FOLDER, `${name}.json`), "utf8")), `model ${name}`);
}

export function parseModelConfig(value: unknown, what: string): ModelConfig {
  const config = parseAtDoor(ModelConfig, value, what);
  const { size, patch, width, headDim } = config.image;
  if (size % patch !== 0) throw new KenpinError("invalid-model", `${what}: image size ${size} is no multiple of the patch ${patch}`);
  if (width % headDim !== 0) throw new KenpinError("invalid-model", `${what}: width ${width} is no multiple of the head dim ${headDim}`);
  return config;
}

/** Size of the text tower's token table: 256 bytes, 256 word-final bytes, the merges, start and end. */
export function vocabularySize(config: ModelConfig): number {
  return 512 + config.text.merges + 2;
}

/** Name and shape of every weight, by open_clip's names; what a checkpoint must have, no more and no less. */
export function tensorShapes(config: ModelConfig): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  imageShapes(config, shapes);
  textShapes(config, shapes);
  shapes.set("logit_scale", []);
  return shapes;
}

function imageShapes({ image, embedDim }: ModelConfig, shapes: Map<string, number[]>): void {
  const { width: w, patch, mlpHidden: h } = image;
  const trunk = "visual.trunk.";
  const norm = (name: string, size: number) => shapes.set(`${name}.weight`, [size]).set(`${name}.bias`, [size]);
  const linear = (name: string, out: number, from: number, bias = true) => {
    shapes.set(`${name}.weight`, [out, from]);
    if (bias) shapes.set(`${name}.bias`, [out]);
  };
  shapes.set(`${trunk}cls_token`, [1, 1, w]).set(`${trunk}pos_embed`, [1, (image.size / patch) ** 2 + 1, w]);
  shapes.set(`${trunk}patch_embed.proj.weight`, [w, 3, patch, patch]).set(`${trunk}patch_embed.proj.bias`, [w]);
  for (let i = 0; i < image.depth; i++) {
    const block = `${trunk}blocks.${i}.`;
    norm(`${block}norm1`, w);
    if (image.subNorm) {
      linear(`${block}attn.q_proj`, w, w);
      linear(`${block}attn.k_proj`, w, w, false);
      linear(`${block}attn.v_proj`, w, w);
      norm(`${block}attn.norm`, w);
    } else {
      shapes
        .set(`${block}attn.qkv.weight`, [3 * w, w])
        .set(`${block}attn.q_bias`, [w])
        .set(`${block}attn.v_bias`, [w]);
    }
    linear(`${block}attn.proj`, w, w);
    norm(`${block}norm2`, w);
    if (image.mlp === "swiglu") {
      linear(`${block}mlp.fc1_g`, h, w);
      linear(`${block}mlp.fc1_x`, h, w);
      norm(`${block}mlp.norm`, h);
    } else linear(`${block}mlp.fc1`, h, w);
    linear(`${block}mlp.fc2`, w, h);
  }
  norm(`${trunk}norm`, w);
  linear(`${trunk}head`, embedDim, w);
}

function textShapes(config: ModelConfig, shapes: Map<string, number[]>): void {
  const { width: w, layers, context } = config.text;
  const pair = (name: string, out: number[], from: number[]) => shapes.set(`${name}weight`, out).set(`${name}bias`, from);
  shapes.set("text.token_embedding.weight", [vocabularySize(config), w]).set("text.positional_embedding", [context, w]);
  for (let i = 0; i < layers; i++) {
    const block = `text.transformer.resblocks.${i}.`;
    pair(`${block}ln_1.`, [w], [w]);
    pair(`${block}attn.in_proj_`, [3 * w, w], [3 * w]);
    pair(`${block}attn.out_proj.`, [w, w], [w]);
    pair(`${block}ln_2.`, [w], [w]);
    pair(`${block}mlp.c_fc.`, [4 * w, w], [4 * w]);
    pair(`${block}mlp.c_proj.`, [w, 4 * w], [w]);
  }
  pair("text.ln_final.", [w], [w]);
  shapes.set("text.text_projection", [w, config.embedDim]);
}
