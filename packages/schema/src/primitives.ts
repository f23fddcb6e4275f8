/** Small shapes that several contracts share. */
import { z } from "zod";

export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "a sha256 in lower-case hexadecimal");
/** Names stand in topics and file paths, so no slash, wildcard, dot or space. */
export const Name = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "letters, digits, - and _, at most 64");
export const Timestamp = z.iso.datetime({ offset: true });
export const Probability = z.number().min(0).max(1);
export const Milliseconds = z.number().min(0);

/** A box in pixels of the original frame; x and y are the upper left corner. */
export const Region = z.strictObject({
  x: z.number().min(0),
  y: z.number().min(0),
  width: z.number().min(0),
  height: z.number().min(0),
  score: z.number(),
});
export type Region = z.infer<typeof Region>;

export const Evidence = z.enum(["none", "region", "frame"]);
export type Evidence = z.infer<typeof Evidence>;
