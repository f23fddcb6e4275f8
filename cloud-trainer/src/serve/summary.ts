/** The few figures at the top of the page, each kept as a count so that asking is cheap after millions of verdicts. */
import type { HubSummary } from "@kenpin/schema";
import { Hono } from "hono";
import { type Door, needs } from "../door.ts";
import type { Database } from "../ports.ts";

type Parts = {
  database: Database;
  samples: () => Promise<HubSummary["samples"]>;
  setAside: () => HubSummary["setAside"];
  broker: () => HubSummary["broker"];
};

export function summaryRoutes({ database, samples, setAside, broker }: Parts): Hono<Door> {
  const routes = new Hono<Door>();
  routes.get("/v1/summary", needs("viewer"), async (c) => {
    const counts = await database.all<{ outcome: "pass" | "fail" | "unknown"; n: number }>(
      "SELECT outcome, sum(n) AS n FROM verdict_counts GROUP BY outcome",
    );
    const verdicts = { pass: 0, fail: 0, unknown: 0 };
    for (const { outcome, n } of counts) verdicts[outcome] = n;
    const summary: HubSummary = { verdicts, samples: await samples(), setAside: setAside(), broker: broker() };
    return c.json(summary);
  });
  return routes;
}
