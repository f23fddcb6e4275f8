/**
 * The folder of what was built and measured for a model on this device: <model's sha256>-<device>/, with tuning.json and whatever
 * engines a provider keeps. Bounded: past the limit the folders that were not used for longest go, never the one in use.
 */
import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Provider } from "@kenpin/schema";
import { deviceDigest } from "./device.ts";
import { tried, Tuning } from "./tuning.ts";

const TUNING = "tuning.json";

export class EngineCache {
  #folder: string;
  #limitBytes: number;

  constructor({ folder, limitMb }: { folder: string; limitMb: number }) {
    this.#folder = folder;
    this.#limitBytes = limitMb * 2 ** 20;
  }

  /** `model` is the sha256 of the image tower. */
  folderOf(model: string): string {
    return join(this.#folder, `${model.slice(0, 16)}-${deviceDigest()}`);
  }

  /** Null where nothing was measured yet, or what is there cannot be read. Counts as a use. */
  async read(model: string): Promise<Tuning | null> {
    const file = join(this.folderOf(model), TUNING);
    const tuning = await readTuning(file);
    if (tuning) await utimes(file, new Date(), new Date()).catch(() => undefined);
    return tuning;
  }

  /** A lost file costs a measurement, so it need not survive a power cut. */
  async write(model: string, tuning: Tuning): Promise<void> {
    await mkdir(this.folderOf(model), { recursive: true });
    await writeFile(join(this.folderOf(model), TUNING), JSON.stringify(tuning));
  }

  /** What the last model that was opened on this provider took, on this device. */
  async lastTookMs(provider: Provider): Promise<number | null> {
    const tunings = await Promise.all((await this.#entries()).map((name) => readTuning(join(this.#folder, name, TUNING))));
    const same = tunings.flatMap((tuning) => (tuning && tried(tuning, provider) ? tuning : []));
    return same.sort((a, b) => b.at.localeCompare(a.at))[0]?.tookMs ?? null;
  }

  async bytes(): Promise<number> {
    const sizes = await Promise.all((await this.#entries()).map((name) => bytesIn(join(this.#folder, name))));
    return sizes.reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Removes the longest unused until the rest fits; `inUse` stays. Answers how many went. */
  async sweep(inUse: string): Promise<number> {
    const kept = this.folderOf(inUse);
    const folders = await Promise.all(
      (await this.#entries(false)).map(async (name) => {
        const folder = join(this.#folder, name);
        const used = await stat(join(folder, TUNING)).catch(() => null);
        return { folder, bytes: await bytesIn(folder), usedMs: used?.mtimeMs ?? 0 };
      }),
    );
    let [total, gone] = [folders.reduce((sum, { bytes }) => sum + bytes, 0), 0];
    for (const { folder, bytes } of folders.sort((a, b) => a.usedMs - b.usedMs)) {
      if (total <= this.#limitBytes) break;
      if (folder === kept) continue;
      await rm(folder, { recursive: true, force: true });
      total -= bytes;
      gone++;
    }
    return gone;
  }

  /** Folders of this device, or of any that the data folder has been on. */
  async #entries(ofThisDevice = true): Promise<string[]> {
    const entries = await readdir(this.#folder, { withFileTypes: true }).catch(() => []);
    return entries.flatMap((entry) => {
      const isOurs = /^[0-9a-f]{16}-[0-9a-f]{12}$/.test(entry.name);
      return entry.isDirectory() && isOurs && (!ofThisDevice || entry.name.endsWith(deviceDigest())) ? entry.name : [];
    });
  }
}

async function readTuning(file: string): Promise<Tuning | null> {
  try {
    return Tuning.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return null;
  }
}

async function bytesIn(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => []);
  const sizes = await Promise.all(
    entries.map(async (entry) => (entry.isFile() ? ((await stat(join(entry.parentPath, entry.name)).catch(() => null))?.size ?? 0) : 0)),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
