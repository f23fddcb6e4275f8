/**
 * The page as its build left it in a folder. It holds no secret, so it is served to anybody who reaches the port; what it shows
 * comes through the interface, which asks who is there. In: the folder, and what to say at / where nothing was built.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import { type Env, Hono } from "hono";
import { Refusal } from "./refusal.ts";

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

type Asset = { bytes: Uint8Array<ArrayBuffer>; type: string; etag: string };

export function assetRoutes<E extends Env>(folder: string, notBuilt: string): Hono<E> {
  const assets = readAssets(folder);
  const routes = new Hono<E>();
  const serve = (name: string, asked: string | undefined): Response | null => {
    const asset = assets.get(name);
    if (!asset) return null;
    const headers = { "content-type": asset.type, etag: asset.etag, "cache-control": "no-cache" };
    return asked === asset.etag ? new Response(null, { status: 304, headers }) : new Response(asset.bytes, { headers });
  };
  routes.get("/", (c) => {
    const page = serve("index.html", c.req.header("if-none-match"));
    if (!page) throw new Refusal(503, "page-not-built", notBuilt);
    return page;
  });
  routes.get("/:name{[a-z-]+\\.(js|css|svg)}", async (c, next) => {
    const asset = serve(c.req.param("name"), c.req.header("if-none-match"));
    if (asset) return asset;
    await next();
    return;
  });
  return routes;
}

/** Some hundred kilobytes, read once: what is served is what was there at the start. */
function readAssets(folder: string): Map<string, Asset> {
  const assets = new Map<string, Asset>();
  for (const name of namesIn(folder)) {
    const type = TYPES[extname(name)];
    if (!type) continue;
    const bytes = new Uint8Array(readFileSync(join(folder, name)));
    assets.set(name, { bytes, type, etag: `"${createHash("sha256").update(bytes).digest("hex").slice(0, 32)}"` });
  }
  return assets;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // the interface works without its page, and / says what to do
  }
}
