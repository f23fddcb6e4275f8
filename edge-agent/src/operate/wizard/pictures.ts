/**
 * The set-up's pictures: bytes and heat maps under dataDir/setup, what is said and seen of each in memory. Told by the bytes' sha256,
 * so that the same picture taken twice is one. Never leaves the device; gone when the set-up is saved or given up.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { decodeImage } from "@kenpin/clip";
import { KenpinError, type LabelledFrame, type PictureRow } from "@kenpin/schema";

/** What a teaching takes at most. */
const PICTURES = 512;
const NAME_LIMIT = 200;

/** `lookKey` names the words and labels by which it was looked at. */
export type Held = Omit<PictureRow, "look"> & { look: PictureRow["look"]; lookKey: string };

export class Pictures {
  #folder: string;
  #held = new Map<string, Held>();

  constructor(dataDir: string) {
    this.#folder = join(dataDir, "setup");
  }

  get all(): Held[] {
    return [...this.#held.values()];
  }

  async add(bytes: Uint8Array, { name, from, label }: Pick<PictureRow, "name" | "from" | "label">): Promise<Held> {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const known = this.#held.get(sha256);
    if (!known && this.#held.size >= PICTURES) {
      throw new KenpinError("too-many-pictures", `a set-up holds ${PICTURES} pictures at most; take some out, or choose fewer`);
    }
    if (!known) {
      await decodeImage(bytes); // refuses what is no picture
      await mkdir(this.#folder, { recursive: true });
      await writeFile(join(this.#folder, sha256), bytes, { mode: 0o600 });
    }
    const held: Held = known ?? { sha256, name: name.slice(0, NAME_LIMIT), from, label, look: null, lookKey: "" };
    if (label !== null) held.label = label;
    this.#held.set(sha256, held);
    return held;
  }

  label(sha256: string, label: PictureRow["label"]): Held {
    const held = this.#need(sha256);
    held.label = label;
    return held;
  }

  async remove(sha256: string): Promise<void> {
    this.#need(sha256);
    this.#held.delete(sha256);
    for (const name of [sha256, `${sha256}.map`]) await rm(join(this.#folder, name), { force: true });
  }

  saw(sha256: string, look: NonNullable<PictureRow["look"]>, key: string): void {
    const held = this.#held.get(sha256);
    if (held) Object.assign(held, { look, lookKey: key });
  }

  /** In the order they came. */
  labelled(): LabelledFrame[] {
    return this.all.flatMap(({ sha256, label }) => (label ? [{ sha256, label }] : []));
  }

  async read(sha256: string): Promise<Uint8Array | null> {
    return this.#held.has(sha256) ? readFile(join(this.#folder, sha256)).catch(() => null) : null;
  }

  async readMap(sha256: string): Promise<Uint8Array | null> {
    return this.#held.has(sha256) ? readFile(join(this.#folder, `${sha256}.map`)).catch(() => null) : null;
  }

  async keepMap(sha256: string, map: Uint8Array): Promise<void> {
    await writeFile(join(this.#folder, `${sha256}.map`), map, { mode: 0o600 });
  }

  async clear(): Promise<void> {
    this.#held.clear();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #need(sha256: string): Held {
    const held = this.#held.get(sha256);
    if (!held) throw new KenpinError("picture-unknown", "this picture is not part of the set-up; it may have been taken out meanwhile");
    return held;
  }
}
