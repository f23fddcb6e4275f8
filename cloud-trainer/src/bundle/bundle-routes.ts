/** HTTP of bundles: made from words by an engineer, listed for viewers, fetched by agents. */
import { readJson, Refusal } from "@kenpin/page";
import { BundleRequest } from "@kenpin/schema";
import { Hono } from "hono";
import { type Door, needs, needsAgent, sendFile } from "../door.ts";
import type { Shelf } from "./shelf.ts";

export function bundleRoutes(shelf: Shelf): Hono<Door> {
  const routes = new Hono<Door>();

  routes.get("/v1/bundles", needs("viewer"), async (c) => c.json(await shelf.rows()));

  routes.post("/v1/bundles", needs("engineer"), async (c) => {
    return c.json(await shelf.make(await readJson(c, BundleRequest, "bundle")), 201);
  });

  routes.get("/v1/bundles/:digest", needsAgent("viewer"), async (c) => {
    const bundle = await shelf.row(c.req.param("digest"));
    if (!bundle) throw new Refusal(404, "bundle-unknown", "this hub holds no bundle of this digest");
    return sendFile(c, shelf.path(bundle.digest), "application/x-tar");
  });

  return routes;
}
