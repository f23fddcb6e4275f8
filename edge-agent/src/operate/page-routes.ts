/**
 * What the page shows beside the set-up: how the agent stands, the frames it saw lately with their heat maps, and the versions of
 * its settings. In: views on the running agent, handed in where the stages are joined. Out: routes behind the sign-in.
 */
import { readLimited, Refusal } from "@kenpin/page";
import { type AgentSnapshot, type AuditRow, KenpinError, type PageState, Sha256 } from "@kenpin/schema";
import { type Context, Hono } from "hono";
import { z } from "zod";
import type { Setup } from "../setup.ts";
import { callerOf, type Door } from "./page-door.ts";
import type { Recent } from "./recent.ts";
import type { SettingsStore } from "./settings-store.ts";
import type { Wizard } from "./wizard/wizard.ts";

export type PageViews = {
  state: () => Omit<PageState, "person" | "verdicts" | "fails">;
  snapshot: () => AgentSnapshot;
  running: () => Setup;
  /** The settings digest of the bundle as it came. */
  ownDigest: () => Promise<string>;
  recent: Recent;
  settings: SettingsStore;
  audit: () => AuditRow[];
  wizard: Wizard;
  /** Looks at a frame again, for its heat map. */
  mapOf: (bytes: Uint8Array) => Promise<Uint8Array | null>;
};

/** Maps are drawn when somebody looks; the last ones are kept. */
const MAPS = 24;
const SETTINGS_UPLOAD_LIMIT = 288 * 1024 * 1024;
const Version = z.coerce.number().int().min(1);

export function pageRoutes({ state, snapshot, running, ownDigest, recent, settings, audit, wizard, mapOf }: PageViews): Hono<Door> {
  const routes = new Hono<Door>();
  const maps = new Map<string, Promise<Uint8Array | null>>();
  const history = async () => settings.history(running(), await ownDigest());

  routes.get("/v1/state", (c) => {
    const whole: PageState = { ...state(), person: callerOf(c).name, verdicts: recent.verdicts, fails: recent.fails };
    return c.json(whole);
  });

  routes.get("/v1/snapshot", (c) => c.json(snapshot()));

  routes.get("/v1/frames/:sha256", async (c) => {
    const sha256 = shaOf(c);
    const bytes = recent.picture(sha256) ?? (await wizard.picture(sha256));
    if (!bytes) throw gone();
    return picture(bytes);
  });

  routes.get("/v1/frames/:sha256/map", async (c) => {
    const sha256 = shaOf(c);
    const own = await wizard.map(sha256);
    if (own) return picture(own);
    const bytes = recent.picture(sha256);
    if (!bytes) throw gone();
    const drawn = maps.get(sha256) ?? mapOf(bytes);
    maps.set(sha256, drawn);
    for (const old of [...maps.keys()].slice(0, Math.max(0, maps.size - MAPS))) maps.delete(old);
    const map = await drawn;
    if (!map) {
      maps.delete(sha256);
      throw new Refusal(503, "map-not-drawn", "the inspector did not draw this frame's map in time; try again");
    }
    return picture(map);
  });

  routes.get("/v1/settings", async (c) => c.json(await history()));

  routes.get("/v1/audit", (c) => c.json(audit()));

  routes.post("/v1/settings/back", async (c) => {
    await settings.back(running(), callerOf(c).name);
    return c.json(await history());
  });

  routes.get("/v1/settings/:version/file", async (c) => {
    const version = Version.safeParse(c.req.param("version"));
    if (!version.success) throw new Refusal(404, "settings-unknown", "settings are named by their version, a number from 1");
    const headers = {
      "content-type": "application/octet-stream",
      "content-disposition": `attachment; filename="settings-${version.data}.kenpin-settings"`,
    };
    return new Response(Buffer.from(await settings.file(version.data)), { headers });
  });

  routes.post("/v1/settings", async (c) => {
    if (c.req.header("content-type") !== "application/octet-stream") {
      throw new Refusal(415, "settings-file-expected", "a settings file is taken as application/octet-stream");
    }
    const bytes = await readLimited(c.req.raw.body, SETTINGS_UPLOAD_LIMIT, "the settings file");
    const fingerprint = c.req.query("fingerprint");
    return c.json(await settings.take(running(), bytes, { by: callerOf(c).name, fingerprint }), 201);
  });

  return routes;
}

/** The types browsers show; whatever else a camera gives is shown as missing. */
function typeOf(bytes: Uint8Array): string {
  const head = Buffer.from(bytes.subarray(0, 12)).toString("latin1");
  if (head.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (head.startsWith("\x89PNG")) return "image/png";
  if (head.startsWith("RIFF") && head.endsWith("WEBP")) return "image/webp";
  throw new KenpinError("not-shown", "browsers do not show this kind of picture");
}

function picture(bytes: Uint8Array): Response {
  return new Response(Buffer.from(bytes), { headers: { "content-type": typeOf(bytes), "cache-control": "private, max-age=60" } });
}

function shaOf(c: Context<Door>): string {
  const sha256 = Sha256.safeParse(c.req.param("sha256"));
  if (!sha256.success) throw gone();
  return sha256.data;
}

function gone(): Refusal {
  return new Refusal(404, "frame-gone", "this frame is not held any more");
}
