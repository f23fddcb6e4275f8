/**
 * What an inspector was taught, kept beside the reference frames: dataDir/banks/<bundle digest>, so that an agent that starts
 * again need not teach again. The inspector itself says whether a file is its own; one that is lost or refused costs a teaching.
 * Bytes of 8-bit tokens, no pictures; they never leave the device.
 */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../durable-file.ts";

export class BankStore {
  #folder: string;

  constructor(dataDir: string) {
    this.#folder = join(dataDir, "banks");
  }

  /** Null where none was kept, or it cannot be read. */
  async read(bundle: string): Promise<Uint8Array | null> {
    return readFile(join(this.#folder, bundle)).catch(() => null);
  }

  async write(bundle: string, bank: Uint8Array): Promise<void> {
    await writeDurably(join(this.#folder, bundle), bank);
  }

  /** Removes those of bundles that are gone. */
  async sweep(bundles: readonly (string | null)[]): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => [])) {
      if (!bundles.includes(name)) await rm(join(this.#folder, name), { force: true });
    }
  }
}
