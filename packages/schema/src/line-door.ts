/** What machines of the line send to the agent's line door. Off unless agent.yaml names a token (`lineDoor`). */
import { z } from "zod";
import { Milliseconds, Name } from "./primitives.ts";
import { Verdict } from "./verdict.ts";

/** POST /v1/frames/<camera>?trigger: a picture as the body → { verdict }. */
export const PushQuery = z.strictObject({ trigger: z.string().min(1).max(200).optional() });

/** POST /v1/trigger: the station's cameras look at the part in front of them → StationAnswer, at the deadline at the latest. */
export const TriggerRequest = z.strictObject({ station: Name, trigger: z.string().min(1).max(200).optional() });

/** What the line is told of a part; `late` where a camera had not answered by the deadline, which counts as unknown. */
export const StationAnswer = z.strictObject({
  station: Name,
  triggerId: z.string().max(200),
  outcome: Verdict.shape.outcome,
  late: z.boolean(),
  cameras: z.array(z.strictObject({ camera: Name, outcome: Verdict.shape.outcome, reason: Verdict.shape.reason })),
  ms: Milliseconds,
});
export type StationAnswer = z.infer<typeof StationAnswer>;

/** GET /v1/stations. The heartbeat rises while pictures and the inspector's replies keep coming. */
export const StationState = z.strictObject({
  station: Name,
  ready: z.boolean(),
  heartbeat: z.int().min(0),
  /** Why it is not ready, such as `inspector-silent` or `top-stale`. */
  faults: z.array(z.string().max(100)),
});
export type StationState = z.infer<typeof StationState>;
