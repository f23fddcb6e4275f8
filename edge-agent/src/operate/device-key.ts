/**
 * The device's own key (Ed25519), with which settings made here are signed: dataDir/device-key.json, made at first use, readable by
 * the agent's user alone. It never leaves the device; people know it by its fingerprint.
 */
import { link, mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { createKey, fingerprintOf, type PrivateKey, publicKey } from "@kenpin/bundle";
import { KenpinError, Name, parseAtDoor } from "@kenpin/schema";
import { z } from "zod";

const StoredKey = z.strictObject({
  keyId: Name,
  jwk: z.strictObject({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string().length(43), d: z.string().length(43) }),
});

export async function deviceKey(dataDir: string): Promise<PrivateKey> {
  const file = join(dataDir, "device-key.json");
  const text = (await readOrNull(file)) ?? (await makeKey(dataDir, file));
  try {
    return parseAtDoor(StoredKey, JSON.parse(text), file);
  } catch (cause) {
    throw new KenpinError("device-key-broken", `${file} holds no key; restore it, or delete it and confirm the new fingerprint`, { cause });
  }
}

/** Whole or not there at all; where two make one at once, the first one's stands. */
async function makeKey(dataDir: string, file: string): Promise<string> {
  await mkdir(dataDir, { recursive: true });
  const fresh = await createKey("device");
  const key = { ...fresh, keyId: `device-${fingerprintOf(publicKey(fresh)).slice(0, 9)}` };
  const part = `${file}.${process.pid}.part`;
  await rm(part, { force: true });
  const handle = await open(part, "wx", 0o600);
  try {
    await handle.writeFile(`${JSON.stringify(key)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await link(part, file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  await rm(part, { force: true });
  return readFile(file, "utf8");
}

async function readOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}
