/**
 * POST /v1/frames/<camera>?trigger=<id>: one picture as the body, for a camera whose source is `push`.
 * Out: its verdict, once that is on the disk (200); 503 where the camera's queue is full or a newer frame overtook it, and nothing of the
 * frame is kept then: it may be sent again.
 */
import { randomUUID } from "node:crypto";
import { readLimited, Refusal } from "@kenpin/page";
import { KenpinError, parseAtDoor, PushQuery } from "@kenpin/schema";
import { Hono } from "hono";
import { FRAME_LIMIT_BYTES } from "./frame-file.ts";
import { pushedCamera } from "./open-source.ts";
import type { PushAnswer } from "./pushed-frames.ts";
import type { Source } from "./source.ts";

const SHED = {
  "queue-full": "more frames wait already than the camera's queue.frames allows; send it again later",
  "newer-frame": "a newer frame has overtaken this one",
  "agent-stopping": "the agent is being stopped; send it again once it runs",
  "camera-paused": "the camera is paused; send it again once it is resumed",
};

export function frameRoutes(sources: ReadonlyMap<string, Source>): Hono {
  const routes = new Hono();
  routes.post("/v1/frames/:camera", async (c) => {
    const camera = find(sources, c.req.param("camera"));
    const { trigger = randomUUID() } = parseAtDoor(PushQuery, c.req.query(), "the query");
    const read = () => readLimited(c.req.raw.body, FRAME_LIMIT_BYTES, "the frame");
    return c.json(verdictOf(await camera.push(trigger, read)));
  });
  return routes;
}

function find(sources: ReadonlyMap<string, Source>, name: string) {
  try {
    return pushedCamera(sources, name);
  } catch (error) {
    throw error instanceof KenpinError ? new Refusal(404, error.code, error.message) : error;
  }
}

function verdictOf(answer: PushAnswer) {
  if ("shed" in answer) throw new Refusal(503, answer.shed, SHED[answer.shed]);
  return { verdict: answer.verdict };
}
