/** What of an agent a person should look at, as its status tells it. Nothing of it stops the line. */
import { z } from "zod";
import { Name } from "./primitives.ts";

export const AgentHealth = z.strictObject({
  /** Cameras whose frames of now are not those of their reference; see drift.ts. */
  drifting: z.array(Name).max(64),
});
export type AgentHealth = z.infer<typeof AgentHealth>;
