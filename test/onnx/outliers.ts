/**
 * Gives a tower the outliers that trained networks have and drawn weights lack: eight channels of each norm 64 times as
 * large, and the weights that read them 64 times as small. The function stays the same, its rounding does not.
 */
import type { ModelConfig, Tensor } from "@kenpin/clip";

const FACTOR = 64;
const CHANNELS = 8;
const TRUNK = "visual.trunk.";

export function withOutliers(tensors: ReadonlyMap<string, Tensor>, { image, text }: ModelConfig): Map<string, Tensor> {
  const out = new Map([...tensors].map(([name, { shape, data }]) => [name, { shape, data: data.slice() }]));
  const stretch = (norm: string, readers: string[]) => {
    const channels = (out.get(`${norm}.weight`) as Tensor).data.length;
    const picked = new Set(Array.from({ length: CHANNELS }, (_, i) => Math.floor(((i + 0.5) * channels) / CHANNELS)));
    for (const part of ["weight", "bias"]) {
      const { data } = out.get(`${norm}.${part}`) as Tensor;
      for (const channel of picked) data[channel] = (data[channel] as number) * FACTOR;
    }
    for (const reader of readers) {
      const { data } = out.get(reader) as Tensor;
      for (let i = 0; i < data.length; i++) if (picked.has(i % channels)) data[i] = (data[i] as number) / FACTOR;
    }
  };
  for (let i = 0; i < image.depth; i++) {
    const block = `${TRUNK}blocks.${i}.`;
    stretch(
      `${block}norm1`,
      ["q", "k", "v"].map((letter) => `${block}attn.${letter}_proj.weight`),
    );
    stretch(`${block}attn.norm`, [`${block}attn.proj.weight`]);
    stretch(`${block}norm2`, [`${block}mlp.fc1_g.weight`, `${block}mlp.fc1_x.weight`]);
    stretch(`${block}mlp.norm`, [`${block}mlp.fc2.weight`]);
  }
  stretch(`${TRUNK}norm`, [`${TRUNK}head.weight`]);
  for (let i = 0; i < text.layers; i++) {
    const block = `text.transformer.resblocks.${i}.`;
    stretch(`${block}ln_1`, [`${block}attn.in_proj_weight`]);
    stretch(`${block}ln_2`, [`${block}mlp.c_fc.weight`]);
  }
  return out;
}
