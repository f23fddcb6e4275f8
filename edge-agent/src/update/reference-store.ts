/**
 * The labelled frames an inspector is taught from: bytes under dataDir/references/<sha256>, sets in the database.
 * A teaching collects a new set of good frames, frame by frame in the verdicts' own transactions, so a restart goes on where it
 * stopped; or frames are added to the active set and taken from it. A set replaces the active one only when an inspector has been
 * taught with it. These bytes never leave the device.
 */
import { randomUUID } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Database, readFact, writeFact } from "../database.ts";
import { writeDurably } from "../durable-file.ts";
import type { Reference } from "../setup.ts";

type LabelledFrame = Pick<Reference, "sha256" | "label">;
/** `camera` is null where the set was put together by hand: no frame is waited for. */
type Teaching = { set: string; camera: string | null; count: number };

const TEACHING = "references.teaching";
const ACTIVE = "references.active";

export class ReferenceStore {
  #db: Database;
  #folder: string;

  constructor(db: Database, dataDir: string) {
    this.#db = db;
    this.#folder = join(dataDir, "references");
  }

  active(): Reference[] {
    return this.framesOf(this.activeSet);
  }

  get activeSet(): string {
    return readFact<string>(this.#db, ACTIVE) ?? "";
  }

  /** Inside a transaction: a set of its own of these frames becomes the active one; a teaching under way is given up for it. */
  place(frames: readonly LabelledFrame[]): string {
    const set = randomUUID();
    for (const [position, frame] of frames.entries()) this.#insert(set, position, frame);
    this.activateSet(set);
    return set;
  }

  /** Inside a transaction: a set that was active before. */
  activateSet(set: string): void {
    writeFact(this.#db, ACTIVE, set);
    writeFact(this.#db, TEACHING, null);
  }

  /** In the order they are taught. */
  framesOf(set: string): Reference[] {
    const sql = "SELECT sha256, label FROM reference_frames WHERE set_id = ? ORDER BY position";
    return this.located(this.#db.prepare<[string], LabelledFrame>(sql).all(set));
  }

  /** Where these frames lie on this device, or would. */
  located(frames: readonly LabelledFrame[]): Reference[] {
    return frames.map(({ sha256, label }) => ({ sha256, label, file: join(this.#folder, sha256) }));
  }

  /** The next `count` frames of this camera; a teaching under way is given up for it. */
  begin(camera: string, count: number): void {
    const teaching: Teaching = { set: randomUUID(), camera, count };
    writeFact(this.#db, TEACHING, teaching);
  }

  /** The active set with some frames more, kept before, and some fewer; a teaching under way is given up for it. */
  change({ add = [], remove = [] }: { add?: readonly LabelledFrame[]; remove?: readonly string[] }): void {
    const gone = new Set([...remove, ...add.map(({ sha256 }) => sha256)]);
    const frames = [...this.active().filter(({ sha256 }) => !gone.has(sha256)), ...add];
    const teaching: Teaching = { set: randomUUID(), camera: null, count: frames.length };
    this.#db.transaction(() => {
      for (const [position, frame] of frames.entries()) this.#insert(teaching.set, position, frame);
      writeFact(this.#db, TEACHING, teaching);
    })();
  }

  wants(camera: string): boolean {
    return this.#teaching()?.camera === camera && this.complete() === null;
  }

  /** Keeps the bytes; the frame counts once `add` has run in a committed transaction. */
  async keep(sha256: string, bytes: Uint8Array): Promise<void> {
    await writeDurably(join(this.#folder, sha256), bytes);
  }

  add(camera: string, sha256: string): void {
    const teaching = this.#teaching();
    if (teaching?.camera !== camera) return;
    const position = this.framesOf(teaching.set).length;
    if (position >= teaching.count) return;
    this.#insert(teaching.set, position, { sha256, label: "good" });
  }

  /** The set that is complete and waits to be taught, or null. */
  complete(): { set: string; frames: Reference[] } | null {
    const teaching = this.#teaching();
    if (!teaching) return null;
    const frames = this.framesOf(teaching.set);
    return frames.length >= teaching.count ? { set: teaching.set, frames } : null;
  }

  activate(set: string): void {
    this.#db.transaction(() => {
      writeFact(this.#db, ACTIVE, set);
      this.#end(set);
    })();
  }

  /** Gives a set up; the active one stays. */
  discard(set: string): void {
    this.#db.transaction(() => this.#end(set))();
  }

  /** Removes what no set needs any more; only before frames come, since a kept file waits for its row. */
  async sweep(): Promise<void> {
    const kept = [readFact<string>(this.#db, ACTIVE) ?? "", this.#teaching()?.set ?? ""];
    const ofSettings = "SELECT set_id FROM settings UNION SELECT json_extract(value, '$') FROM facts WHERE name = 'settings.base-set'";
    this.#db.prepare(`DELETE FROM reference_frames WHERE set_id NOT IN (?, ?) AND set_id NOT IN (${ofSettings})`).run(...kept);
    const needed = new Set(this.#db.prepare("SELECT sha256 FROM reference_frames").pluck().all());
    for (const name of await readdir(this.#folder).catch(() => [])) {
      if (!needed.has(name)) await rm(join(this.#folder, name), { force: true });
    }
  }

  #insert(set: string, position: number, { sha256, label }: LabelledFrame): void {
    this.#db
      .prepare("INSERT INTO reference_frames (set_id, position, sha256, label) VALUES (?, ?, ?, ?)")
      .run(set, position, sha256, label);
  }

  #end(set: string): void {
    if (this.#teaching()?.set === set) writeFact(this.#db, TEACHING, null);
  }

  #teaching(): Teaching | null {
    return readFact<Teaching>(this.#db, TEACHING);
  }
}
