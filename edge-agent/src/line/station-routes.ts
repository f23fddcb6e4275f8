/**
 * Triggers over HTTP: POST /v1/trigger asks a station's cameras for the part in front of them and answers what the line is told;
 * GET /v1/stations says which stations are ready, with their heartbeats. In: stations with their pulses. Out: routes for the line door.
 */
import { randomUUID } from "node:crypto";
import { readJson, Refusal } from "@kenpin/page";
import { type StationState, TriggerRequest } from "@kenpin/schema";
import { Hono } from "hono";
import type { Pulse } from "./pulse.ts";
import type { Station } from "./station.ts";

export function stationRoutes(stations: readonly { station: Station; pulse: Pulse }[]): Hono {
  const routes = new Hono();
  routes.get("/v1/stations", (c) => c.json(stations.map(({ station, pulse }) => stateOf(station, pulse))));
  routes.post("/v1/trigger", async (c) => {
    const now = performance.now();
    const { station: name, trigger = randomUUID() } = await readJson(c, TriggerRequest, "a trigger");
    const asked = stations.find(({ station }) => station.name === name);
    if (!asked) throw new Refusal(404, "unknown-station", `this agent has no station "${name}"`);
    return c.json(await asked.station.trigger({ id: trigger, at: now, since: now }));
  });
  return routes;
}

function stateOf({ name }: Station, pulse: Pulse): StationState {
  return { station: name, ready: pulse.isReady, heartbeat: pulse.beat(), faults: pulse.faults };
}
