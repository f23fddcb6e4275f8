/**
 * Pictures that wait for their upload: bytes under dataDir/evidence/<sha256>, what is left to do in the database.
 * Bytes are on the disk before the row that speaks of them; they go once the hub has both them and every sample of theirs.
 */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Camera, Evidence, Sample, SampleReason } from "@kenpin/schema";
import type { Database } from "../database.ts";
import { writeDurably } from "../durable-file.ts";
import type { Picture } from "./evidence.ts";

/** What a camera may send, from nothing to everything. */
const WIDTH: Record<Evidence, number> = { none: 0, region: 1, frame: 2 };

/** Without a battery a clock begins in 1970 and jumps when it is set. */
const CLOCK_FROM = Date.UTC(2025, 0, 1);

export type Pending = { sha256: string; type: string };

export class EvidenceStore {
  #db: Database;
  #folder: string;

  constructor(db: Database, dataDir: string) {
    this.#db = db;
    this.#folder = join(dataDir, "evidence");
  }

  async keep({ sha256, bytes }: Picture): Promise<void> {
    await writeDurably(join(this.#folder, sha256), bytes);
  }

  /** Inside the sample's transaction: this picture belongs to that message. */
  add({ sha256, type, bytes }: Picture, { bootId, seq, camera, evidence }: Pick<Sample, "bootId" | "seq" | "camera" | "evidence">): void {
    this.#db
      .prepare("INSERT OR IGNORE INTO evidence (sha256, type, bytes, kept_at) VALUES (?, ?, ?, ?)")
      .run(sha256, type, bytes.length, Date.now());
    this.#db
      .prepare("INSERT OR IGNORE INTO evidence_uses (sha256, boot_id, seq, camera, policy) VALUES (?, ?, ?, ?, ?)")
      .run(sha256, bootId, seq, camera, evidence);
  }

  /** Inside the sample's transaction. */
  count(day: string, reason: SampleReason): void {
    this.#db
      .prepare("INSERT INTO sample_days (day, reason, count) VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1")
      .run(day, reason);
    this.#db.prepare("DELETE FROM sample_days WHERE day < ?").run(day);
  }

  countOf(day: string): { drawn: number; odd: number } {
    return this.#db
      .prepare(
        `SELECT coalesce(sum(count) FILTER (WHERE reason = 'random'), 0) AS drawn,
                coalesce(sum(count) FILTER (WHERE reason <> 'random'), 0) AS odd FROM sample_days WHERE day = ?`,
      )
      .get(day) as { drawn: number; odd: number };
  }

  pending(limit: number): Pending[] {
    return this.#db.prepare<[number], Pending>("SELECT sha256, type FROM evidence WHERE uploaded = 0 ORDER BY rowid LIMIT ?").all(limit);
  }

  async read({ sha256 }: Pending): Promise<Uint8Array> {
    return readFile(join(this.#folder, sha256));
  }

  uploaded({ sha256 }: Pending): void {
    this.#db.prepare("UPDATE evidence SET uploaded = 1 WHERE sha256 = ?").run(sha256);
  }

  /** A picture whose file is gone can never be sent. */
  forget({ sha256 }: Pending): void {
    this.#db.prepare("DELETE FROM evidence WHERE sha256 = ?").run(sha256);
  }

  bytes(): number {
    return this.#db.prepare("SELECT coalesce(sum(bytes), 0) FROM evidence").pluck().get() as number;
  }

  /**
   * Gives up pictures, the oldest first; the samples that speak of them stay without. A file goes before its row: on a full disk that
   * needs no room. One that was kept before the clock was set has no age.
   */
  async give(most: number, before?: number): Promise<number> {
    const pictures = this.#db
      .prepare<[number, number, number], Pending>(
        "SELECT sha256, type FROM evidence WHERE kept_at < ? AND kept_at >= ? ORDER BY rowid LIMIT ?",
      )
      .all(before ?? Number.MAX_SAFE_INTEGER, before === undefined ? 0 : CLOCK_FROM, most);
    for (const { sha256 } of pictures) await rm(join(this.#folder, sha256), { force: true });
    this.#db.transaction(() => {
      for (const picture of pictures) this.#forgetWhole(picture);
    })();
    return pictures.length;
  }

  /** Removes the bytes of what was uploaded and whose samples were all acknowledged. */
  async sweep(): Promise<void> {
    const done = this.#db
      .prepare<[], Pending>(
        `SELECT sha256, type FROM evidence WHERE uploaded = 1 AND NOT EXISTS (
           SELECT 1 FROM evidence_uses u JOIN outbox o ON o.boot_id = u.boot_id AND o.seq = u.seq WHERE u.sha256 = evidence.sha256)`,
      )
      .all();
    for (const picture of done) {
      this.#db.transaction(() => this.#forgetWhole(picture))();
      await rm(join(this.#folder, picture.sha256), { force: true });
    }
  }

  /**
   * Forgets waiting pictures that the cameras' policies no longer let out, or that no configured camera answers for; answers how
   * many. Their files go with `sweepOrphans`.
   */
  dropForbidden(cameras: readonly Pick<Camera, "name" | "evidence">[]): number {
    const widths = new Map(cameras.map(({ name, evidence }) => [name, WIDTH[evidence]]));
    const uses = this.#db
      .prepare<[], Pending & { camera: string | null; policy: Evidence | null }>(
        `SELECT e.sha256, e.type, u.camera, u.policy FROM evidence e LEFT JOIN evidence_uses u ON u.sha256 = e.sha256 WHERE e.uploaded = 0`,
      )
      .all();
    const forbidden = uses.filter(({ camera, policy }) => WIDTH[policy ?? "frame"] > (widths.get(camera ?? "") ?? WIDTH.none));
    const dropped = new Map(forbidden.map((picture) => [picture.sha256, picture]));
    this.#db.transaction(() => {
      for (const picture of dropped.values()) this.#forgetWhole(picture);
    })();
    return dropped.size;
  }

  /** Removes bytes whose row was never committed; only before frames come, since fresh bytes wait for their row. */
  async sweepOrphans(): Promise<void> {
    const known = new Set(this.#db.prepare("SELECT sha256 FROM evidence").pluck().all());
    for (const name of await readdir(this.#folder).catch(() => [])) {
      if (!known.has(name)) await rm(join(this.#folder, name), { force: true });
    }
  }

  #forgetWhole(picture: Pending): void {
    this.#db.prepare("DELETE FROM evidence_uses WHERE sha256 = ?").run(picture.sha256);
    this.forget(picture);
  }
}
