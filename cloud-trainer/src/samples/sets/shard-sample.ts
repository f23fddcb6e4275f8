/**
 * What a WebDataset shard holds of a picture: <key>.jpg or .png, <key>.txt (its first caption, as open_clip reads it),
 * <key>.json (this contract) and <key>.mask.png. Other people's shards have other JSON beside their pictures: only one that
 * says `format` is ours.
 */
import { Probability, Sha256 } from "@kenpin/schema";
import { z } from "zod";

export const SAMPLE_FORMAT = "kenpin-sample-1";
export const INDEX_FORMAT = "kenpin-shards-1";
export const INDEX_NAME = "index.json";

const Word = z.string().max(4096);
export const ShardSample = z.strictObject({
  format: z.literal(SAMPLE_FORMAT),
  key: Word.min(1),
  sha256: Sha256,
  label: z.enum(["good", "bad"]).nullable(),
  defect: Word.nullable(),
  captions: z.array(z.string().max(65_536)).max(1000),
  group: Word.nullable(),
  split: z.enum(["train", "test"]).nullable(),
  reason: z.enum(["random", "chosen"]).nullable(),
  drawProbability: Probability.nullable(),
});
export type ShardSample = z.infer<typeof ShardSample>;

export const ShardIndex = z.strictObject({
  format: z.literal(INDEX_FORMAT),
  name: z.string().min(1).max(200),
  /** Of the set as it can be read back. */
  digest: Sha256,
  pictures: z.int().min(1),
  shards: z
    .array(z.strictObject({ file: z.string().regex(/^[^/\\]+\.tar$/), sha256: Sha256, bytes: z.int().min(1), pictures: z.int().min(1) }))
    .min(1)
    .max(1_000_000),
});
export type ShardIndex = z.infer<typeof ShardIndex>;
