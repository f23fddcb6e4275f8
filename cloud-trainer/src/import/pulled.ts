/** What `kenpin pull` writes beside the files it fetched, and `kenpin import` puts on the model's card. */
import { z } from "zod";

export const PULLED_FILE = "pulled.json";

export const PulledFiles = z.strictObject({
  id: z.string().min(1).max(200),
  /** The commit the files belong to. */
  revision: z.string().min(1).max(100),
  licence: z.string().min(1).max(300),
  files: z.array(z.strictObject({ path: z.string(), bytes: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) })),
});
export type PulledFiles = z.infer<typeof PulledFiles>;
