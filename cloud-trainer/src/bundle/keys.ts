/**
 * The hub's keys: DIR/keys/root.json, signing.json and keys.jws, the list of signing keys as the root signed it.
 * The first start makes all three. The root is needed only to name a signing key, so it should then be moved to a safe,
 * offline place: with root.json gone the hub goes on with the list it has, and root.pub tells agents whom to pin.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createKey, type PrivateKey, publicKey, signKeyList, trustedKeys } from "@kenpin/bundle";
import { KenpinError, Name, parseAtDoor } from "@kenpin/schema";
import type { Logger } from "pino";
import { z } from "zod";

/** Bundles expire after a year, so a key outlives every bundle it signed in its first year. */
const SIGNING_KEY_LIFE_MS = 2 * 365 * 86_400_000;

const StoredKey = z.strictObject({
  keyId: Name,
  jwk: z.strictObject({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string().length(43), d: z.string().length(43) }),
});

export type HubKeys = { rootKey: string; signingKey: PrivateKey; keysJws: string };

export async function openKeys({ dataDir, now, log }: { dataDir: string; now: Date; log: Logger }): Promise<HubKeys> {
  const folder = join(dataDir, "keys");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = (name: string) => join(folder, name);
  if ((await readOrNull(file("root.pub"))) === null) {
    await makeKeys(file, now);
    log.warn({ file: file("root.json") }, "root-key-made-move-it-offline");
  }
  const rootKey = (await need(file("root.pub"))).trim();
  const signingKey = parseAtDoor(StoredKey, parse(await need(file("signing.json"))), file("signing.json"));
  const keysJws = (await need(file("keys.jws"))).trim();
  const named = await trustedKeys(keysJws, rootKey, now);
  if (named.get(signingKey.keyId) !== publicKey(signingKey)) {
    throw new KenpinError(
      "signing-key-untrusted",
      `${file("signing.json")} is not named by the root key's list, or has run out; sign a new list with the root key`,
    );
  }
  return { rootKey, signingKey, keysJws };
}

/** root.pub is written last: a start that was cut short makes all of them anew, and no agent has pinned the first root yet. */
async function makeKeys(file: (name: string) => string, now: Date): Promise<void> {
  const [root, signing] = await Promise.all([createKey("root-1"), createKey("signing-1")]);
  const notAfter = new Date(now.getTime() + SIGNING_KEY_LIFE_MS).toISOString();
  const keys = [{ keyId: signing.keyId, x: publicKey(signing), notAfter }];
  const keysJws = await signKeyList(root, { issuedAt: now.toISOString(), keys });
  const secret = { mode: 0o600, flush: true };
  await writeFile(file("root.json"), `${JSON.stringify(root)}\n`, secret);
  await writeFile(file("signing.json"), `${JSON.stringify(signing)}\n`, secret);
  await writeFile(file("keys.jws"), `${keysJws}\n`, { flush: true });
  await writeFile(file("root.pub"), `${publicKey(root)}\n`, { flush: true });
}

async function need(file: string): Promise<string> {
  const text = await readOrNull(file);
  if (text === null) throw new KenpinError("key-missing", `${file} is missing; restore it from a backup of the data folder`);
  return text;
}

async function readOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
