/**
 * Keys and signatures: Ed25519 in JWS (RFC 7515, 8037). An offline root key signs the list of signing keys; the signing
 * keys sign manifests and commands. A device pins only the root, so signing keys rotate without touching it.
 */
import { KenpinError, Name } from "@kenpin/schema";
import { CompactSign, compactVerify, exportJWK, generateKeyPair, importJWK, type JWK } from "jose";
import { z } from "zod";

const ALGORITHM = "EdDSA";

/** A private key as it is stored: a JWK with `d`. Never logged, never sent. */
export type PrivateKey = { keyId: string; jwk: JWK };
const SigningKeyEntry = z.strictObject({ keyId: Name, x: z.string().length(43), notAfter: z.iso.datetime({ offset: true }) });
export const KeyList = z.strictObject({ issuedAt: z.iso.datetime({ offset: true }), keys: z.array(SigningKeyEntry).min(1).max(16) });
export type KeyList = z.infer<typeof KeyList>;

export async function createKey(keyId: string): Promise<PrivateKey> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { crv: "Ed25519", extractable: true });
  return { keyId, jwk: await exportJWK(privateKey) };
}

/** The public half, as agents pin it and key lists name it. */
export function publicKey({ jwk }: PrivateKey): string {
  return jwk.x as string;
}

export async function signKeyList(root: PrivateKey, list: KeyList): Promise<string> {
  return sign(root, new TextEncoder().encode(JSON.stringify(KeyList.parse(list))));
}

/** The signing keys the pinned root names and that have not run out at `now`. */
export async function trustedKeys(keysJws: string, rootKey: string, now: Date): Promise<Map<string, string>> {
  const payload = await verify(keysJws, rootKey, "key list");
  const list = KeyList.safeParse(parseJson(payload));
  if (!list.success) throw new KenpinError("key-list-invalid", "the bundle's key list is malformed; ask for a bundle of your own hub");
  return new Map(list.data.keys.filter(({ notAfter }) => new Date(notAfter) > now).map(({ keyId, x }) => [keyId, x]));
}

export async function sign({ keyId, jwk }: PrivateKey, payload: Uint8Array): Promise<string> {
  return new CompactSign(payload).setProtectedHeader({ alg: ALGORITHM, kid: keyId }).sign(await importJWK(jwk, ALGORITHM));
}

/** The payload of a JWS by the given public key; `signature-invalid` for anything else. */
export async function verify(jws: string, publicKeyX: string, what: string): Promise<Uint8Array> {
  try {
    const key = await importJWK({ kty: "OKP", crv: "Ed25519", x: publicKeyX }, ALGORITHM);
    return (await compactVerify(jws, key, { algorithms: [ALGORITHM] })).payload;
  } catch (error) {
    throw new KenpinError("signature-invalid", `the ${what} is not signed by a key this device trusts; it was refused`, { cause: error });
  }
}

/** The key id a JWS claims; to be believed only after verification. */
export function claimedKeyId(jws: string): string {
  try {
    const header = JSON.parse(Buffer.from(jws.split(".")[0] ?? "", "base64url").toString("utf8")) as { kid?: unknown };
    return typeof header.kid === "string" ? header.kid : "";
  } catch {
    return "";
  }
}

export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}
