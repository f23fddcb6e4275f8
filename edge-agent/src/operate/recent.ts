/**
 * What was answered lately, in memory, for the page: the last verdicts, the last failed parts, and the pictures of the newest of
 * both. In: each frame with its verdict, once it is on the disk. Bounded by count and by bytes; a restart begins anew.
 */
import type { Verdict } from "@kenpin/schema";

type Picture = { sha256: string; bytes: Uint8Array };

const VERDICTS = 60;
const FAILS = 12;
/** Pictures beyond this are forgotten, the oldest first; failed parts' and the cameras' newest last of all. */
const BYTES = 24 * 1024 * 1024;

export class Recent {
  /** Newest first. */
  verdicts: Verdict[] = [];
  fails: Verdict[] = [];
  #newest = new Map<string, Picture>();
  #pictures: Picture[] = [];
  #listeners = new Set<(verdict: Verdict) => void>();

  take(verdict: Verdict, bytes: Uint8Array | null): void {
    this.verdicts = [verdict, ...this.verdicts].slice(0, VERDICTS);
    if (verdict.outcome === "fail") this.fails = [verdict, ...this.fails].slice(0, FAILS);
    if (bytes) this.#keep(verdict.camera, { sha256: verdict.frame.sha256, bytes });
    for (const listener of this.#listeners) listener(verdict);
  }

  onVerdict(listener: (verdict: Verdict) => void): void {
    this.#listeners.add(listener);
  }

  newestOf(camera: string): Picture | null {
    return this.#newest.get(camera) ?? null;
  }

  picture(sha256: string): Uint8Array | null {
    return this.#pictures.find((picture) => picture.sha256 === sha256)?.bytes ?? null;
  }

  #keep(camera: string, picture: Picture): void {
    this.#newest.set(camera, picture);
    const others = this.#pictures.filter(({ sha256 }) => sha256 !== picture.sha256);
    const worth = new Set([...this.fails.map(({ frame }) => frame.sha256), ...[...this.#newest.values()].map(({ sha256 }) => sha256)]);
    const ranked = [picture, ...others].sort((a, b) => Number(worth.has(b.sha256)) - Number(worth.has(a.sha256)));
    let room = BYTES;
    this.#pictures = ranked.filter(({ bytes }) => {
      room -= bytes.length;
      return room >= 0;
    });
  }
}
