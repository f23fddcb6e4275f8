/** What of an agent a person should look at, as its status tells it. Nothing of it stops the line. */
import { z } from "zod";
import { Name, Timestamp } from "./primitives.ts";

export const AgentHealth = z.strictObject({
  /** Cameras whose frames of now are not those of their reference; see drift.ts. */
  drifting: z.array(Name).max(64),
  /** The disk has less room than `record.keepFreeMb`, although everything was given that may be. */
  diskShort: z.boolean(),
  /** A damaged database lies in the agent's data folder under this name; `rows` of it could be saved. */
  quarantine: z.strictObject({ file: z.string().max(300), at: Timestamp, why: z.string().max(500), rows: z.int().min(0) }).nullable(),
});
export type AgentHealth = z.infer<typeof AgentHealth>;
