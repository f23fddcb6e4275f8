/**
 * Settings are signed like a bundle's manifest, by the device they were made on or by a key that a root names. In a file the JWS
 * stands in the first line and the taught bank's bytes follow. Nothing of it is believed before the signature and the bank's digest
 * stand; whether the key is to be trusted is what the caller's `keys` say.
 */
import { createHash } from "node:crypto";
import { KenpinError, parseAtDoor, Settings } from "@kenpin/schema";
import { claimedKeyId, parseJson, type PrivateKey, publicKey, sign, verify } from "./keys.ts";
import { sha256 } from "./pack.ts";

export type SettingsFile = { settings: Settings; jws: string; bank: Uint8Array | null; keyId: string };

/** 512 rows of a wide model's embeddings, as JSON in base64, and a bank of 512 frames. */
const JWS_LIMIT = 32 * 1024 * 1024;
export const SETTINGS_FILE_LIMIT = JWS_LIMIT + 256 * 1024 * 1024;
const LINE_FEED = 10;

export async function signSettings(key: PrivateKey, settings: Omit<Settings, "key">): Promise<string> {
  return sign(key, new TextEncoder().encode(JSON.stringify(Settings.parse({ ...settings, key: publicKey(key) }))));
}

export function packSettings(jws: string, bank: Uint8Array | null): Uint8Array {
  return Buffer.concat([Buffer.from(`${jws}\n`), bank ?? new Uint8Array()]);
}

/** `keys`: the public keys trusted here by their id, and `fingerprint`, where a person has compared it, of one more. */
export async function openSettings(
  file: Uint8Array,
  { keys, fingerprint }: { keys: ReadonlyMap<string, string>; fingerprint?: string | undefined },
): Promise<SettingsFile> {
  const end = file.indexOf(LINE_FEED);
  if (end < 1 || end > JWS_LIMIT) throw broken("its first line is no signed document");
  const jws = Buffer.from(file.subarray(0, end)).toString("latin1");
  const keyId = claimedKeyId(jws);
  const key = keys.get(keyId) ?? confirmedKey(jws, fingerprint);
  if (!key) throw foreign(jws);
  const settings = parseAtDoor(Settings, parseJson(await verify(jws, key, "settings file")), "the settings file");
  if (settings.key !== key) throw broken("it names another key than the one that signed it");
  return { settings, jws, keyId, bank: bankOf(settings, file.subarray(end + 1)) };
}

/** Eight groups of four that two people can read to each other: the first 128 bits of the key's sha256. */
export function fingerprintOf(publicKeyX: string): string {
  const hex = createHash("sha256").update(Buffer.from(publicKeyX, "base64url")).digest("hex").slice(0, 32);
  return (hex.match(/.{4}/g) as string[]).join("-");
}

function confirmedKey(jws: string, fingerprint: string | undefined): string | null {
  const key = claimedKey(jws);
  return key !== null && fingerprint !== undefined && fingerprintOf(key) === fingerprint.trim().toLowerCase() ? key : null;
}

/** As the document says before anything is verified. */
function claimedKey(jws: string): string | null {
  const payload = parseJson(Buffer.from(jws.split(".")[1] ?? "", "base64url")) as { key?: unknown } | null;
  return typeof payload?.key === "string" && /^[A-Za-z0-9_-]{43}$/.test(payload.key) ? payload.key : null;
}

function bankOf({ bank }: Settings, bytes: Uint8Array): Uint8Array | null {
  if (bank === null && bytes.length === 0) return null;
  if (bank === null || bytes.length !== bank.bytes || sha256(bytes) !== bank.sha256)
    throw broken("its memory bank is not the one that was signed for");
  return bytes;
}

function foreign(jws: string): KenpinError {
  const key = claimedKey(jws);
  const how =
    key === null
      ? "it is no signed settings document"
      : `its key has the fingerprint ${fingerprintOf(key)}; compare it on the device that made it, and confirm it`;
  return new KenpinError("settings-foreign", `the settings are not signed by a key this device trusts: ${how}`);
}

function broken(why: string): KenpinError {
  return new KenpinError("settings-broken", `the settings file was refused: ${why}; export it again`);
}
