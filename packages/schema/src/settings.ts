/**
 * What decides beside the model, as one document of one device: words with their embeddings, thresholds, and which frames are good
 * or bad. It names the bundle it was made for, and holds for no other one. It travels as a JWS (EdDSA) of the device that made it, or
 * of a key that the agent's root names; a settings file is that JWS in one line and, after it, the taught bank's bytes, if any.
 */
import { z } from "zod";
import { PartSheet } from "./part-sheet.ts";
import { Name, Sha256, Timestamp } from "./primitives.ts";
import { PromptSet } from "./prompt-set.ts";
import { Thresholds } from "./thresholds.ts";

export const SETTINGS_VERSION = 1;

/** A frame that was taught, by its bytes' digest; the frame itself stays on its device. */
export const LabelledFrame = z.strictObject({ sha256: Sha256, label: z.enum(["good", "bad"]) });
export type LabelledFrame = z.infer<typeof LabelledFrame>;

export const Settings = z
  .strictObject({
    schemaVersion: z.literal(SETTINGS_VERSION),
    /** Digest of the bundle these belong to. */
    bundle: Sha256,
    prompts: PromptSet,
    /** What the person wrote, to go on from; null where the words are the bundle's own. */
    sheet: PartSheet.nullable(),
    thresholds: Thresholds,
    references: z.array(LabelledFrame).max(512),
    /** The bank taught from the references, where it travels along. */
    bank: z.strictObject({ sha256: Sha256, bytes: z.int().min(1) }).nullable(),
    madeBy: z.string().min(1).max(64),
    madeAt: Timestamp,
    madeOn: z.strictObject({ site: Name, agent: Name }),
    /** The public key (Ed25519, JWK `x`) it is signed with; to be believed only by its fingerprint, or where a root key names it. */
    key: z.string().regex(/^[A-Za-z0-9_-]{43}$/, "an Ed25519 public key in base64url"),
  })
  .refine(({ thresholds: { pass, cut, fail } }) => pass <= cut && cut <= fail, "thresholds must be in the order pass ≤ cut ≤ fail");
export type Settings = z.infer<typeof Settings>;
