/**
 * Unpacks a bundle only as far as it has been proven, in this order: sizes, key list by the pinned root, manifest by one
 * of its keys, expiry, release, agent version, then each file against its digest while it is written into a fresh folder.
 * The folder gets its name only when all of it stood and is on the disk; anything else leaves nothing behind.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { createHash, type Hash } from "node:crypto";
import { BundleManifest, KenpinError, parseAtDoor } from "@kenpin/schema";
import { extract } from "tar-stream";
import { claimedKeyId, parseJson, trustedKeys, verify } from "./keys.ts";
import { sha256 } from "./pack.ts";

export type UnpackOptions = {
  tar: string;
  outDir: string;
  rootKey: string;
  now: Date;
  /** The highest release this device ever ran; an older one is refused. */
  newestRelease: number;
  agentVersion: string;
  limits?: { tarBytes: number };
};

/** Generous for a CPU model with all its golden images; a full disk is worse than a refused bundle. */
const TAR_LIMIT_BYTES = 2 * 1024 ** 3;
const SMALL_LIMIT_BYTES = 1024 * 1024;
const HEAD = ["keys.jws", "manifest.jws", "manifest.json"];

export async function unpackBundle(options: UnpackOptions): Promise<{ manifest: BundleManifest; digest: string }> {
  const { size } = await stat(options.tar);
  const limit = options.limits?.tarBytes ?? TAR_LIMIT_BYTES;
  if (size > limit) throw refusal("bundle-too-large", `it has ${size} bytes, at most ${limit} are taken`);
  const fresh = `${options.outDir}.unproven`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true });
  try {
    const proven = await unpackInto(fresh, options);
    for (const folder of foldersOf(fresh, proven.manifest)) await syncFolder(folder);
    await rm(options.outDir, { recursive: true, force: true });
    await rename(fresh, options.outDir);
    await syncFolder(dirname(resolve(options.outDir)));
    return proven;
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    if (error instanceof KenpinError) throw error;
    throw new KenpinError("bundle-broken", `the bundle was refused: ${(error as Error).message}; fetch it again`, { cause: error });
  }
}

/**
 * A folder that was unpacked before: signed, and every file as it was then. Expiry is the caller's to judge, since it refuses an
 * installation and never stops what runs.
 */
export async function verifyFolder(folder: string, { rootKey, now }: Pick<UnpackOptions, "rootKey" | "now">) {
  const head = new Map<string, Buffer>();
  for (const name of HEAD) head.set(name, await readWhole(folder, name));
  const proven = await provenManifest(head, rootKey, now);
  for (const [name, expected] of Object.entries(proven.manifest.files)) {
    const hash = createHash("sha256");
    await pipeline(createReadStream(join(folder, name)), hash).catch((cause: unknown) => {
      throw new KenpinError("bundle-broken", `the installed bundle lacks ${name}; install it again`, { cause });
    });
    if (hash.digest("hex") !== expected.sha256) {
      throw new KenpinError("bundle-digest-mismatch", `the installed bundle's ${name} has been changed; install it again`);
    }
  }
  return proven;
}

async function readWhole(folder: string, name: string): Promise<Buffer> {
  return readFile(join(folder, name)).catch((cause: unknown) => {
    throw new KenpinError("bundle-broken", `the installed bundle lacks ${name}; install it again`, { cause });
  });
}

type Header = { name: string; size: number; type: string };
type Entry = AsyncIterable<Buffer> & { header: Header };

async function unpackInto(folder: string, options: UnpackOptions): Promise<{ manifest: BundleManifest; digest: string }> {
  const head = new Map<string, Buffer>();
  let proven: { manifest: BundleManifest; digest: string } | null = null;
  const missing = new Set<string>();
  const tar = extract();
  const reading = pipeline(createReadStream(options.tar), tar);
  reading.catch(() => undefined); // the loop below sees the same error
  for await (const source of tar) {
    const entry = source as unknown as Entry; // tar-stream's types do not say what chunks it gives
    const { header } = entry;
    if (header.type !== "file") throw refusal("bundle-broken", `it holds ${header.name}, which is no plain file`);
    if (head.size < HEAD.length) {
      if (header.name !== HEAD[head.size])
        throw refusal("bundle-broken", `its entry ${head.size + 1} is ${header.name}, expected ${HEAD[head.size]}`);
      head.set(header.name, await readSmall(entry, header));
      if (head.size === HEAD.length) {
        proven = await prove(head, options);
        for (const name of Object.keys(proven.manifest.files)) missing.add(name);
        for (const [name, data] of head) await writeFile(join(folder, name), data, { flush: true });
      }
      continue;
    }
    if (!proven || !missing.delete(header.name))
      throw refusal("bundle-broken", `it holds ${header.name}, which its manifest does not list or lists once only`);
    await writeProven(entry, header, join(folder, header.name), proven.manifest);
  }
  await reading;
  if (!proven) throw refusal("bundle-broken", "it ends before its manifest");
  if (missing.size > 0) throw refusal("bundle-broken", `it lacks ${[...missing].join(", ")}`);
  return proven;
}

/** Every folder that holds a name, the deepest first. */
function foldersOf(top: string, { files }: BundleManifest): string[] {
  const folders = new Set([top]);
  for (const name of Object.keys(files)) {
    for (let inner = dirname(name); inner !== "."; inner = dirname(inner)) folders.add(join(top, inner));
  }
  return [...folders].sort((a, b) => b.length - a.length);
}

/** Names live in their folder, which has a cache of its own. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function prove(head: Map<string, Buffer>, { rootKey, now, newestRelease, agentVersion }: UnpackOptions) {
  const { manifest, digest } = await provenManifest(head, rootKey, now);
  if (new Date(manifest.expiresAt) <= now)
    throw refusal("bundle-expired", `it ran out on ${manifest.expiresAt}; ask the hub for a newer one`);
  if (manifest.release < newestRelease)
    throw refusal("bundle-downgrade", `its release ${manifest.release} is older than ${newestRelease}, which ran here`);
  if (compareVersions(manifest.minAgentVersion, agentVersion) > 0) {
    throw refusal("agent-too-old", `it needs agent ${manifest.minAgentVersion} or newer, this is ${agentVersion}`);
  }
  return { manifest, digest };
}

/** The manifest as it was signed, by a key that the root key names. */
async function provenManifest(head: ReadonlyMap<string, Buffer>, rootKey: string, now: Date) {
  const manifestBytes = head.get("manifest.json") as Buffer;
  const keys = await trustedKeys((head.get("keys.jws") as Buffer).toString("utf8"), rootKey, now);
  const jws = (head.get("manifest.jws") as Buffer).toString("utf8");
  const key = keys.get(claimedKeyId(jws));
  if (!key) throw refusal("signature-invalid", "its signing key is not named by the root key this device pins, or has run out");
  const [protectedHeader, , signature] = jws.split(".");
  await verify(`${protectedHeader}.${manifestBytes.toString("base64url")}.${signature}`, key, "bundle's manifest");
  const manifest = parseAtDoor(BundleManifest, parseJson(manifestBytes), "manifest.json");
  if (manifest.keyId !== claimedKeyId(jws))
    throw refusal("signature-invalid", "its manifest names another key than the one that signed it");
  return { manifest, digest: sha256(manifestBytes) };
}

async function writeProven(entry: AsyncIterable<Buffer>, header: Header, file: string, manifest: BundleManifest): Promise<void> {
  const expected = manifest.files[header.name] as { sha256: string; bytes: number };
  if (header.size !== expected.bytes)
    throw refusal("bundle-digest-mismatch", `${header.name} has ${header.size} bytes, its manifest says ${expected.bytes}`);
  await mkdir(dirname(file), { recursive: true });
  const hash = createHash("sha256");
  await pipeline(hashed(entry, header, hash), createWriteStream(file, { flush: true }));
  if (hash.digest("hex") !== expected.sha256)
    throw refusal("bundle-digest-mismatch", `${header.name} is not the file its manifest was signed for`);
}

/**
 * The entry's bytes, hashed on their way. Read as an iterable: a tar that is cut off ends its streams before anybody listens
 * to them, and Node's pipeline would wait for ever for such a stream to say so.
 */
async function* hashed(entry: AsyncIterable<Buffer>, { name }: Header, hash: Hash): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of entry) {
      hash.update(chunk);
      yield chunk;
    }
  } catch (error) {
    throw new KenpinError("bundle-broken", `the bundle was refused: it ends within ${name}; fetch it again`, { cause: error });
  }
}

async function readSmall(entry: AsyncIterable<Buffer>, { name, size }: Header): Promise<Buffer> {
  if (size > SMALL_LIMIT_BYTES) throw refusal("bundle-too-large", `${name} has ${size} bytes`);
  const chunks: Buffer[] = [];
  for await (const chunk of entry) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split(".").map(Number)) as [number[], number[]];
  for (let i = 0; i < 3; i++) if ((left[i] ?? 0) !== (right[i] ?? 0)) return (left[i] ?? 0) - (right[i] ?? 0);
  return 0;
}

function refusal(code: string, why: string): KenpinError {
  return new KenpinError(code, `the bundle was refused: ${why}`);
}
