/**
 * The bundle that this device decides by, for whoever looks from outside while the agent runs or not: the installed one, or,
 * where none ever ran, the file that the configuration names. Nothing is written but a temporary folder, which `remove` takes away.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unpackBundle, verifyFolder } from "@kenpin/bundle";
import type { AgentConfig, BundleManifest } from "@kenpin/schema";
import { databaseFile, openForReading, readFact } from "./database.ts";
import { AGENT_VERSION } from "./version.ts";

export type InstalledBundle = {
  bundle: string;
  folder: string;
  manifest: BundleManifest;
  isInstalled: boolean;
  remove: () => Promise<void>;
};

/** Proven by the pinned root key, file by file; throws with what is wrong. */
export async function openInstalledBundle({ dataDir, bundle, rootKey }: AgentConfig): Promise<InstalledBundle> {
  const current = currentBundle(dataDir);
  if (current) {
    const folder = join(dataDir, "bundles", current);
    const { manifest } = await verifyFolder(folder, { rootKey, now: new Date() });
    return { bundle: current, folder, manifest, isInstalled: true, remove: async () => {} };
  }
  const place = await mkdtemp(join(tmpdir(), "kenpin-bundle-"));
  const remove = () => rm(place, { recursive: true, force: true });
  try {
    const folder = join(place, "bundle");
    const options = { tar: bundle, outDir: folder, rootKey, now: new Date(), newestRelease: 0, agentVersion: AGENT_VERSION };
    const { manifest, digest } = await unpackBundle(options);
    return { bundle: digest, folder, manifest, isInstalled: false, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

function currentBundle(dataDir: string): string | null {
  if (!existsSync(databaseFile(dataDir))) return null;
  const db = openForReading(databaseFile(dataDir));
  try {
    return readFact<string>(db, "bundle.current");
  } finally {
    db.close();
  }
}
