/** HTTP of pictures and verdicts: agents bring blobs, viewers read blobs and verdicts. */
import { Refusal } from "@kenpin/page";
import { KenpinError, Sha256, type VerdictRow } from "@kenpin/schema";
import { Hono } from "hono";
import { z } from "zod";
import { type Door, needs, needsAgent, parseQuery, sendFile } from "../door.ts";
import type { Database } from "../ports.ts";
import type { BlobStore } from "./blobs.ts";

const VerdictQuery = z.strictObject({
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(500).default(100),
  newest: z.enum(["", "1", "true"]).optional(),
});

type Parts = { database: Database; blobs: BlobStore; onBlob: (sha256: string) => void };

export function sampleRoutes({ database, blobs, onBlob }: Parts): Hono<Door> {
  const routes = new Hono<Door>();

  routes.put("/v1/blobs/:sha256", needsAgent(), async (c) => {
    const sha256 = digest(c.req.param("sha256"));
    const caller = c.get("caller");
    if (caller?.kind !== "agent") throw new KenpinError("not-allowed", "only an agent brings pictures");
    const outcome = await blobs.put(sha256, c.req.raw.body ?? empty(), caller);
    if (outcome === "stored") onBlob(sha256);
    return c.json({ sha256, outcome }, outcome === "stored" ? 201 : 200);
  });

  routes.get("/v1/blobs/:sha256", needs("viewer"), async (c) => {
    const sha256 = digest(c.req.param("sha256"));
    const type = await blobs.typeOf(sha256);
    if (!type) throw new Refusal(404, "blob-unknown", "no picture of this digest has arrived");
    return sendFile(c, blobs.path(sha256), type);
  });

  routes.get("/v1/verdicts", needs("viewer"), async (c) => {
    const { after, limit, newest } = parseQuery(VerdictQuery, c.req.query());
    const order = newest === undefined ? "ASC" : "DESC";
    const sql = `SELECT row, body, received_at FROM verdicts WHERE row > ? ORDER BY row ${order} LIMIT ?`;
    const rows = await database.all<{ row: number; body: string; received_at: string }>(sql, after, limit);
    return c.json(rows.map(({ row, body, received_at }): VerdictRow => ({ row, verdict: JSON.parse(body), receivedAt: received_at })));
  });

  return routes;
}

function digest(text: string): string {
  const parsed = Sha256.safeParse(text);
  if (!parsed.success) throw new Refusal(400, "digest-malformed", "a picture is named by its sha256 in lower-case hexadecimal");
  return parsed.data;
}

async function* empty(): AsyncGenerator<Uint8Array> {
  // a PUT without a body is a picture of no bytes, which is refused like any other that is none
}
