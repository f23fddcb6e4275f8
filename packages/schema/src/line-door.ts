/** What machines of the line send to the agent's line door. Off unless agent.yaml names a token (`lineDoor`). */
import { z } from "zod";

/** POST /v1/frames/<camera>?trigger: a picture as the body → { verdict }. */
export const PushQuery = z.strictObject({ trigger: z.string().min(1).max(200).optional() });
