/**
 * Seals staged files into a signed bundle. In: a folder a trainer left, what its manifest says, and what only the hub knows
 * (name, release, lineage, dates, keys). Out: DIR/bundles/<digest>.kenpin, whole or not there at all.
 */
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { packBundle } from "@kenpin/bundle";
import { BUNDLE_FORMAT, type BundleManifest, KenpinError } from "@kenpin/schema";
import type { HubKeys } from "./keys.ts";
import type { StagedManifest } from "./staged.ts";

/** An agent refuses a bundle to install after this; a running one goes on. */
const LIFE_MS = 365 * 86_400_000;
/** What an agent takes at most; a staged folder beyond it is a mistake of whoever staged it. */
const LIMIT_BYTES = 2 * 1024 ** 3;

export type SealOptions = {
  folder: string;
  staged: StagedManifest;
  name: string;
  release: number;
  lineage: BundleManifest["lineage"];
  keys: HubKeys;
  now: Date;
  outDir: string;
};

export async function sealBundle({ folder, staged, name, release, lineage, keys, now, outDir }: SealOptions) {
  await mkdir(outDir, { recursive: true });
  const temporary = join(outDir, `.${randomUUID()}.part`);
  try {
    const { digest, bytes } = await packBundle({
      manifest: {
        ...staged,
        format: BUNDLE_FORMAT,
        name,
        release,
        createdAt: now.toISOString(),
        expiresAt: new Date(now.getTime() + LIFE_MS).toISOString(),
        lineage,
      },
      files: await readFolder(folder),
      keysJws: keys.keysJws,
      signingKey: keys.signingKey,
      out: temporary,
    });
    await sync(temporary);
    await rename(temporary, join(outDir, `${digest}.kenpin`));
    return { digest, bytes };
  } finally {
    await rm(temporary, { force: true });
  }
}

async function readFolder(folder: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  let bytes = 0;
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((item) => item.isFile())) {
    const path = join(entry.parentPath, entry.name);
    const data = await readFile(path);
    bytes += data.length;
    if (bytes > LIMIT_BYTES) throw new KenpinError("bundle-too-large", `the staged files have more than ${LIMIT_BYTES} bytes`);
    files.set(path.slice(folder.length + 1).replaceAll("\\", "/"), data);
  }
  return files;
}

async function sync(file: string): Promise<void> {
  const handle = await open(file, "r+");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
