/**
 * Pictures by their sha256: DIR/blobs/ab/<sha256>. In: a stream of bytes and the digest it claims. It is written under a
 * temporary name while it is hashed, kept only if size, type and digest stand, fsynced, then renamed; doing it twice does
 * nothing. An agent may bring what its own samples announce, or a few that arrive before their announcement.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { Refusal } from "@kenpin/page";
import type { Database } from "../ports.ts";

/** A 20-megapixel PNG fits; a film does not. */
const LIMIT_BYTES = 64 * 1024 * 1024;
/** Announcement and picture take different roads, so a few pictures may come first; more than that is a hoard. */
const EARLY_PER_AGENT = 64;
const EARLY_LIFE_MS = 60 * 24 * 3_600_000;
const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const JPEG = Buffer.from([0xff, 0xd8, 0xff]);

const TABLES = [
  `CREATE TABLE blobs (
     sha256 TEXT PRIMARY KEY, bytes INTEGER NOT NULL, type TEXT NOT NULL,
     site TEXT NOT NULL, agent TEXT NOT NULL, stored_at INTEGER NOT NULL) STRICT;
   CREATE INDEX blobs_by_agent ON blobs (site, agent)`,
];

export type BlobType = "image/jpeg" | "image/png";
type Bringer = { site: string; agent: string };
export type BlobStore = Awaited<ReturnType<typeof openBlobs>>;

export async function openBlobs({ database, dataDir }: { database: Database; dataDir: string }) {
  await database.migrate("blobs", TABLES);
  const root = join(dataDir, "blobs");
  const incoming = join(root, "incoming");
  await rm(incoming, { recursive: true, force: true }); // halves that a killed hub left
  await mkdir(incoming, { recursive: true });
  const path = (sha256: string) => join(root, sha256.slice(0, 2), sha256);
  const typeOf = async (sha256: string): Promise<BlobType | null> => {
    const [row] = await database.all<{ type: BlobType }>("SELECT type FROM blobs WHERE sha256 = ?", sha256);
    return row?.type ?? null;
  };

  const put = async (sha256: string, body: AsyncIterable<Uint8Array>, from: Bringer): Promise<"stored" | "present"> => {
    if (await typeOf(sha256)) return "present";
    await mayBring(database, sha256, from);
    const temporary = join(incoming, randomUUID());
    try {
      const { bytes, type } = await write(temporary, sha256, body);
      await mkdir(join(root, sha256.slice(0, 2)), { recursive: true });
      await rename(temporary, path(sha256));
      await syncFolder(join(root, sha256.slice(0, 2)));
      const sql = "INSERT INTO blobs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
      await database.run(sql, sha256, bytes, type, from.site, from.agent, Date.now());
      return "stored";
    } finally {
      await rm(temporary, { force: true });
    }
  };

  /** Forgets pictures that no sample announced for longer than a broker may be away. */
  const sweep = async (now: number): Promise<number> => {
    const sql = `DELETE FROM blobs WHERE stored_at < ? AND NOT ${announced("samples.site IS NOT NULL")} RETURNING sha256`;
    const gone = await database.all<{ sha256: string }>(sql, now - EARLY_LIFE_MS);
    for (const { sha256 } of gone) await rm(path(sha256), { force: true });
    return gone.length;
  };

  return { put, path, typeOf, sweep };
}

function announced(owner: string): string {
  return `EXISTS (SELECT 1 FROM samples WHERE (samples.frame = blobs.sha256 OR samples.map = blobs.sha256) AND ${owner})`;
}

async function mayBring(database: Database, sha256: string, { site, agent }: Bringer): Promise<void> {
  const named = "SELECT 1 FROM samples WHERE (frame = ? OR map = ?) AND site = ? AND agent = ? LIMIT 1";
  if ((await database.all(named, sha256, sha256, site, agent)).length > 0) return;
  const sql = `SELECT count(*) AS early FROM blobs WHERE site = ? AND agent = ? AND NOT ${announced("samples.site = blobs.site AND samples.agent = blobs.agent")}`;
  const [row] = await database.all<{ early: number }>(sql, site, agent);
  if ((row?.early ?? 0) >= EARLY_PER_AGENT) {
    throw new Refusal(
      409,
      "blob-not-announced",
      `no sample of ${site}/${agent} names this picture, and ${EARLY_PER_AGENT} already wait for theirs; announce it, then send it again`,
    );
  }
}

async function write(file: string, sha256: string, body: AsyncIterable<Uint8Array>): Promise<{ bytes: number; type: BlobType }> {
  const hash = createHash("sha256");
  const handle = await open(file, "wx", 0o640);
  let bytes = 0;
  let head = Buffer.alloc(0);
  let type: BlobType | null = null;
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > LIMIT_BYTES) throw new Refusal(413, "body-too-large", `a picture has at most ${LIMIT_BYTES} bytes`);
      head = type ? head : Buffer.concat([head, chunk]);
      if (!type && head.length >= PNG.length) type = sniff(head);
      hash.update(chunk);
      await handle.writeFile(chunk);
    }
    if (!type) throw notAPicture();
    if (hash.digest("hex") !== sha256) {
      throw new Refusal(422, "blob-digest-mismatch", "the bytes are not the ones their sha256 names; read the file again and resend it");
    }
    await handle.sync();
    return { bytes, type };
  } finally {
    await handle.close();
  }
}

function sniff(head: Buffer): BlobType {
  if (head.subarray(0, PNG.length).equals(PNG)) return "image/png";
  if (head.subarray(0, JPEG.length).equals(JPEG)) return "image/jpeg";
  throw notAPicture();
}

function notAPicture(): Refusal {
  return new Refusal(415, "blob-type-unknown", "the bytes are neither a JPEG nor a PNG; nothing else is taken");
}

/** A rename is on disk only when its folder is. Windows has no such call and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
