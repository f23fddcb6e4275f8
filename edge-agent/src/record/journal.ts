/**
 * Commits what was decided: the verdict, the memory that its frame was taken, and whatever belongs to it, in one
 * transaction that is on the disk when it returns. Gives identity: id, bootId of this start, seq from 1 without gaps.
 *
 * A frame of a file is known by camera, trigger, bytes and the file's time of change. Its row lives from the verdict until the file is
 * gone, so a file left over by a crash gets no second verdict, while a camera that uses a name again, even for the very
 * same picture, gets one for each file it delivers.
 */
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { extname } from "node:path";
import type { Camera, Sample, Verdict } from "@kenpin/schema";
import type { Database } from "../database.ts";
import type { Frame } from "../frame.ts";
import type { Outbox } from "./outbox.ts";
import { uuidV7 } from "./uuid-v7.ts";

export type Identity = { id: string; bootId: string; seq: number };
type Draft<T> = Omit<T, keyof Identity>;
type TakenRow = { camera: string; trigger_id: string; sha256: string };

export class Journal {
  readonly bootId = randomUUID();
  #db: Database;
  #outbox: Outbox;
  #seq = 0;
  /** Frames whose file is gone; their rows go with the next commit, which saves an fsync each. */
  #removed: Frame[] = [];

  constructor(db: Database, outbox: Outbox) {
    this.#db = db;
    this.#outbox = outbox;
    outbox.begin(this.bootId);
  }

  /** The seq the next message of this boot will have. */
  get nextSeq(): number {
    return this.#seq + 1;
  }

  /** Whether this very file already has its verdict. */
  hasVerdict(frame: Frame): boolean {
    if (frame.file === null) return false;
    const { camera, triggerId, sha256, modifiedNs } = frame;
    if (this.#removed.some((gone) => isSameFile(gone, frame))) return false; // delivered once more, on a coarse clock
    const row = this.#db
      .prepare("SELECT 1 FROM taken WHERE camera = ? AND trigger_id = ? AND sha256 = ? AND modified_ns = ?")
      .get(camera.name, triggerId, sha256, modifiedNs);
    return row !== undefined;
  }

  /** `within` runs in the same transaction. `ms.total` ends as the row is written; its own fsync cannot be in it. */
  commitVerdict(draft: Draft<Verdict>, frame: Frame, within: () => void = () => undefined): Verdict {
    const verdict = this.#commit((identity) => {
      const whole: Verdict = { ...draft, ...identity, ms: { ...draft.ms, total: performance.now() - frame.takenAt } };
      this.#outbox.add({ kind: "verdict", message: whole, outcome: whole.outcome });
      for (const gone of this.#removed) this.#forget(gone);
      if (frame.file !== null) this.#remember(frame, whole.id);
      within();
      return whole;
    });
    this.#removed = [];
    return verdict;
  }

  commitSample(draft: Draft<Sample>, within: (sample: Sample) => void): Sample {
    return this.#commit((identity) => {
      const whole: Sample = { ...draft, ...identity };
      this.#outbox.add({ kind: "sample", message: whole, outcome: "sample" });
      within(whole);
      return whole;
    });
  }

  fileRemoved(frame: Frame): void {
    this.#removed.push(frame);
  }

  /** Forgets frames whose file went just before a crash. */
  sweep(cameras: readonly Camera[]): void {
    const present = new Set(cameras.flatMap(({ name, source }) => triggersIn(source).map((trigger) => `${name}/${trigger}`)));
    for (const row of this.#db.prepare<[], TakenRow>("SELECT camera, trigger_id, sha256 FROM taken").all()) {
      if (present.has(`${row.camera}/${row.trigger_id}`)) continue;
      this.#db.prepare("DELETE FROM taken WHERE camera = ? AND trigger_id = ? AND sha256 = ?").run(row.camera, row.trigger_id, row.sha256);
    }
  }

  #commit<T extends Identity>(work: (identity: Identity) => T): T {
    const identity = { id: uuidV7(), bootId: this.bootId, seq: this.#seq + 1 };
    const done = this.#db.transaction(() => work(identity)).immediate();
    this.#seq = identity.seq; // only now: a commit that failed has used no number
    this.#outbox.grew();
    return done;
  }

  #remember({ camera, triggerId, sha256, modifiedNs }: Frame, verdictId: string): void {
    this.#db
      .prepare("INSERT OR REPLACE INTO taken (camera, trigger_id, sha256, modified_ns, verdict_id) VALUES (?, ?, ?, ?, ?)")
      .run(camera.name, triggerId, sha256, modifiedNs, verdictId);
  }

  #forget({ camera, triggerId, sha256, modifiedNs }: Frame): void {
    this.#db
      .prepare("DELETE FROM taken WHERE camera = ? AND trigger_id = ? AND sha256 = ? AND modified_ns = ?")
      .run(camera.name, triggerId, sha256, modifiedNs);
  }
}

function isSameFile(a: Frame, b: Frame): boolean {
  return a.camera.name === b.camera.name && a.triggerId === b.triggerId && a.sha256 === b.sha256 && a.modifiedNs === b.modifiedNs;
}

function triggersIn(source: Camera["source"]): string[] {
  if (source.kind !== "folder" || !existsSync(source.path)) return [];
  return readdirSync(source.path).map((name) => name.slice(0, name.length - extname(name).length));
}
