/** HTTP of training runs. */
import { readJson, Refusal } from "@kenpin/page";
import { RunRequest } from "@kenpin/schema";
import { Hono } from "hono";
import { type Door, needs } from "../door.ts";
import type { Runs } from "./runs.ts";

export function runRoutes(runs: Runs): Hono<Door> {
  const routes = new Hono<Door>();
  const known = async (id: string) => {
    const row = await runs.row(id);
    if (!row) throw new Refusal(404, "run-unknown", "this hub knows no run of this id");
    return row;
  };

  routes.get("/v1/runs", needs("viewer"), async (c) => c.json(await runs.rows()));
  routes.post("/v1/runs", needs("engineer"), async (c) => c.json(await runs.start(await readJson(c, RunRequest, "run")), 201));
  routes.get("/v1/runs/:id", needs("viewer"), async (c) => c.json(await known(c.req.param("id"))));
  routes.get("/v1/runs/:id/progress", needs("viewer"), async (c) => {
    const { id } = await known(c.req.param("id"));
    return c.json(await runs.progress(id));
  });

  return routes;
}
