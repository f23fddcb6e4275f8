/**
 * What an agent's line door takes and answers of pictures that a program brings (Node-RED, a PLC's gateway, a test stand). Off unless
 * agent.yaml has `lineDoor.inspect`; every request carries the line door's token as `Authorization: Bearer`.
 *
 * GET  /v1/inspect                   InspectState
 * POST /v1/inspect?map&trigger&part  a JPEG or PNG, or an InspectRequest as JSON → InspectAnswer
 *
 * A picture without words of its own is decided as the line's frames are: its verdict is recorded and reported. One with words is a
 * try-out: its verdict is `shadow`, has the digest of those words, and is told to nobody else.
 */
import { z } from "zod";
import { WordsRequest } from "./agent-api.ts";
import { Name } from "./primitives.ts";
import { Verdict } from "./verdict.ts";

export const InspectQuery = z.strictObject({
  /** With the heat map. */
  map: z.enum(["", "0", "1"]).optional(),
  trigger: z.string().min(1).max(200).optional(),
  part: z.string().min(1).max(200).optional(),
});

export const InspectRequest = z.strictObject({ image: z.base64().min(1), words: WordsRequest.optional() });

export const InspectAnswer = z.strictObject({ verdict: Verdict, map: z.base64().optional().describe("PNG, as large as the picture") });
export type InspectAnswer = z.infer<typeof InspectAnswer>;

export const InspectState = z.strictObject({
  site: Name,
  line: Name,
  agent: Name,
  camera: Name,
  inspecting: z.boolean(),
  /** The bundle brings its text tower, so pictures may come with words of their own. */
  wordsCanChange: z.boolean(),
  waiting: z.int().min(0),
});
export type InspectState = z.infer<typeof InspectState>;
