/**
 * The bundles on this device: unpacked and proven under dataDir/bundles/<digest>, the current one and the newest release
 * ever run in the database. Trusted time is the clock, but never before the last signed time seen, so that a device that
 * boots in 1970 still refuses what has run out.
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { trustedKeys, unpackBundle } from "@kenpin/bundle";
import { BundleManifest, KenpinError, parseAtDoor, PromptSet, Thresholds } from "@kenpin/schema";
import { type Database, readFact, writeFact } from "../database.ts";
import { syncFolder } from "../durable-file.ts";
import type { Chosen, Setup } from "../setup.ts";
import { AGENT_VERSION } from "../version.ts";
import { wordsFolder } from "../words-folder.ts";
import type { ReferenceStore } from "./reference-store.ts";
import { settingsDigest } from "./settings-digest.ts";

export type BundleStoreOptions = {
  db: Database;
  dataDir: string;
  rootKey: string;
  references: ReferenceStore;
  /** What was chosen on this device in place of a bundle's own words and thresholds; null where nothing was. */
  chosen: (bundle: string) => Promise<Chosen | null>;
};

const CURRENT = "bundle.current";
/** The bundle to go back to while a new one is on probation. */
const FALLBACK = "bundle.fallback";
const NEWEST_RELEASE = "bundle.newest-release";
const ROLLED_BACK = "bundle.rolled-back";
const LAST_SIGNED = "time.last-signed";

export class BundleStore {
  #db: Database;
  #folder: string;
  #rootKey: string;
  #references: ReferenceStore;
  #chosen: BundleStoreOptions["chosen"];
  #dataDir: string;

  constructor({ db, dataDir, rootKey, references, chosen }: BundleStoreOptions) {
    this.#db = db;
    this.#dataDir = dataDir;
    this.#chosen = chosen;
    this.#folder = join(dataDir, "bundles");
    this.#rootKey = rootKey;
    this.#references = references;
  }

  get current(): string | null {
    return readFact<string>(this.#db, CURRENT);
  }

  get fallback(): string | null {
    return readFact<string>(this.#db, FALLBACK);
  }

  /** A bundle that crashed here is not taken again, however often it is asked for. */
  get rolledBack(): { digest: string; reason: string } | null {
    return readFact(this.#db, ROLLED_BACK);
  }

  now(): Date {
    return new Date(Math.max(Date.now(), readFact<number>(this.#db, LAST_SIGNED) ?? 0));
  }

  /** Unpacks and proves a tar; answers the digest. Nothing runs from it yet. */
  async install(tar: string, expected?: string): Promise<string> {
    await mkdir(this.#folder, { recursive: true });
    const incoming = join(this.#folder, "incoming");
    const newestRelease = readFact<number>(this.#db, NEWEST_RELEASE) ?? 0;
    const { manifest, digest } = await unpackBundle({
      tar,
      outDir: incoming,
      rootKey: this.#rootKey,
      now: this.now(),
      newestRelease,
      agentVersion: AGENT_VERSION,
    });
    if (expected !== undefined && digest !== expected) {
      await rm(incoming, { recursive: true, force: true });
      throw new KenpinError("bundle-digest-mismatch", `the bundle was refused: it is ${digest}, ${expected} was announced`);
    }
    writeFact(this.#db, LAST_SIGNED, Math.max(readFact<number>(this.#db, LAST_SIGNED) ?? 0, Date.parse(manifest.createdAt)));
    await this.#place(incoming, digest);
    return digest;
  }

  /** Renames only: a folder in use is never half there. */
  async #place(incoming: string, digest: string): Promise<void> {
    const folder = join(this.#folder, digest);
    const replaced = `${folder}.replaced`;
    await rm(replaced, { recursive: true, force: true });
    await rename(folder, replaced).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    await rename(incoming, folder);
    await syncFolder(this.#folder);
    await rm(replaced, { recursive: true, force: true });
  }

  /** What deciding by this bundle, these references and these words and thresholds (those in use, unless told) would be. */
  async setup(digest: string, references = this.#references.active(), choice?: Chosen | null): Promise<Setup> {
    const folder = join(this.#folder, digest);
    const manifest = parseAtDoor(BundleManifest, await readJson(join(folder, "manifest.json")), "manifest.json");
    const own = {
      thresholds: parseAtDoor(Thresholds, await readJson(join(folder, "thresholds.json")), "thresholds.json"),
      prompts: parseAtDoor(PromptSet, await readJson(join(folder, "prompts.json")), "prompts.json"),
    };
    const chosen = choice === undefined ? await this.#chosen(digest) : choice;
    const { thresholds, prompts } = chosen ?? own;
    if (!(thresholds.pass <= thresholds.cut && thresholds.cut <= thresholds.fail)) {
      throw new KenpinError("thresholds-invalid", "the bundle was refused: its thresholds are not in the order pass ≤ cut ≤ fail");
    }
    // Frames of settings from another device are known here by their bank alone, which another bundle cannot use.
    const usable = chosen ? references : references.filter(({ file }) => existsSync(file));
    const settings = settingsDigest(prompts, thresholds, usable);
    const isOwn = settingsDigest(prompts, own.thresholds, []) === settingsDigest(own.prompts, own.thresholds, []);
    const words = isOwn ? folder : await wordsFolder({ dataDir: this.#dataDir, bundle: digest, folder, prompts });
    return { bundle: digest, folder, wordsFolder: words, manifest, thresholds, settings, references: usable };
  }

  /**
   * From now on this is the bundle to start with; the one before stays until `confirm`. One that is still on probation itself
   * is nothing to go back to: the proven one behind it stays the fallback.
   */
  adopt({ bundle, manifest }: Setup): void {
    const { current, fallback } = this;
    this.#db.transaction(() => {
      if (fallback === bundle) writeFact(this.#db, FALLBACK, null);
      else if (current !== bundle && !fallback) writeFact(this.#db, FALLBACK, current);
      writeFact(this.#db, CURRENT, bundle);
      writeFact(this.#db, NEWEST_RELEASE, Math.max(readFact<number>(this.#db, NEWEST_RELEASE) ?? 0, manifest.release));
    })();
  }

  rollBack(digest: string, reason: string, to: string): void {
    this.#db.transaction(() => {
      writeFact(this.#db, ROLLED_BACK, { digest, reason });
      writeFact(this.#db, CURRENT, to);
      writeFact(this.#db, FALLBACK, null);
    })();
  }

  /** Starts with the fallback again, without a word against the bundle: its copy here is broken, another may be fetched. */
  fallBack(to: string): void {
    this.#db.transaction(() => {
      writeFact(this.#db, CURRENT, to);
      writeFact(this.#db, FALLBACK, null);
    })();
  }

  /** The current bundle has shown that it runs; what came before may go. */
  async confirm(): Promise<void> {
    writeFact(this.#db, FALLBACK, null);
    await this.sweep();
  }

  /** Removes every folder but those in use. */
  async sweep(): Promise<void> {
    const kept = new Set([this.current, this.fallback]);
    for (const name of await readdir(this.#folder).catch(() => [])) {
      if (!kept.has(name)) await rm(join(this.#folder, name), { recursive: true, force: true });
    }
  }

  async forget(digest: string): Promise<void> {
    await rm(join(this.#folder, digest), { recursive: true, force: true });
  }

  /** The keys that may sign commands and settings at a time: those the current bundle's key list names. */
  async keys(at = this.now()): Promise<Map<string, string>> {
    const jws = await readFile(join(this.#folder, this.current ?? "", "keys.jws"), "utf8");
    return trustedKeys(jws, this.#rootKey, at);
  }
}

async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new KenpinError("bundle-broken", `${file} is missing or no JSON; install the bundle again`, { cause: error });
  }
}
