/**
 * Packs a bundle: one tar of keys.jws, manifest.jws, manifest.json and the files, in this order, so that a reader knows
 * what it may trust before the first large byte. The same input gives the same bytes.
 */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { BundleManifest } from "@kenpin/schema";
import { pack as tarPack } from "tar-stream";
import { type PrivateKey, sign } from "./keys.ts";

export type PackOptions = {
  manifest: Omit<BundleManifest, "files" | "keyId">;
  files: ReadonlyMap<string, Uint8Array>;
  keysJws: string;
  signingKey: PrivateKey;
  out: string;
};

export async function packBundle({
  manifest,
  files,
  keysJws,
  signingKey,
  out,
}: PackOptions): Promise<{ digest: string; bytes: number; manifest: BundleManifest }> {
  const listed = Object.fromEntries(
    [...files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, data]) => [name, { sha256: sha256(data), bytes: data.length }]),
  );
  const whole = BundleManifest.parse({ ...manifest, keyId: signingKey.keyId, files: listed });
  const manifestBytes = Buffer.from(`${JSON.stringify(whole, null, 2)}\n`);
  const jws = await sign(signingKey, manifestBytes);
  const tar = tarPack();
  const written = pipeline(tar, createWriteStream(out));
  const add = (name: string, data: Uint8Array) => tar.entry({ name, mtime: new Date(0), mode: 0o644 }, Buffer.from(data));
  add("keys.jws", Buffer.from(keysJws));
  add("manifest.jws", Buffer.from(detached(jws)));
  add("manifest.json", manifestBytes);
  for (const name of Object.keys(listed)) add(name, files.get(name) as Uint8Array);
  tar.finalize();
  await written;
  return { digest: sha256(manifestBytes), bytes: (await stat(out)).size, manifest: whole };
}

/** RFC 7515 appendix F: the payload is left out of the signature file, since it stands beside it. */
function detached(jws: string): string {
  const [header, , signature] = jws.split(".");
  return `${header}..${signature}`;
}

export function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
