/** HTTP of labelling: the samples that wait, and what somebody says of them. */
import { readJson } from "@kenpin/page";
import { Label } from "@kenpin/schema";
import { Hono } from "hono";
import { z } from "zod";
import { type Door, needs } from "../door.ts";
import type { Labels } from "./labels.ts";

/** A set's whole ground truth in one request, and no more. */
const LabelList = z.array(Label).min(1).max(5000);

export function labelRoutes({ labels, onLabel }: { labels: Labels; onLabel: (frame: string) => void }): Hono<Door> {
  const routes = new Hono<Door>();

  routes.get("/v1/samples", needs("viewer"), async (c) =>
    c.json(await labels.samples({ unlabelled: c.req.query("unlabelled") !== undefined })),
  );

  routes.post("/v1/labels", needs("labeller"), async (c) => {
    const caller = c.get("caller");
    // Only an administrator may speak for others (a data set's ground truth, an import); everybody else signs by name.
    const speaksForOthers = caller?.kind === "person" && caller.role === "admin";
    const given = await readJson(c, LabelList, "labels");
    const list = speaksForOthers || caller?.kind !== "person" ? given : given.map((label) => ({ ...label, by: caller.name }));
    const stored = await labels.store(list);
    for (const frame of new Set(list.map(({ sample }) => sample))) onLabel(frame);
    return c.json({ stored });
  });

  return routes;
}
