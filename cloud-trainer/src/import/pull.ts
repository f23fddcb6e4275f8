/**
 * Fetches a published checkpoint from a model hub: resumed where it stopped, checked against the digest the hub names, with
 * revision and licence recorded beside it (pulled.json).
 * In: a model's name or a hub id. Out: a folder that `kenpin import` takes. The token never appears in a message.
 */
import { createWriteStream } from "node:fs";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { downloadFile, type ListFileEntry, listFiles, modelInfo } from "@huggingface/hub";
import { errorLine, KenpinError } from "@kenpin/schema";
import { sha256Of } from "../files.ts";
import { PULLED_FILE, type PulledFiles } from "./pulled.ts";

/** Where open_clip's own registry finds the published models. */
const PUBLISHED: Record<string, string> = {
  "EVA01-g-14": "timm/eva_giant_patch14_clip_224.laion400m_s11b_b41k",
  "EVA01-g-14-plus": "timm/eva_giant_patch14_plus_clip_224.merged2b_s11b_b114k",
  "EVA02-B-16": "timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k",
  "EVA02-L-14": "timm/eva02_large_patch14_clip_224.merged2b_s4b_b131k",
  "EVA02-L-14-336": "timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k",
  "EVA02-E-14": "timm/eva02_enormous_patch14_clip_224.laion2b_s4b_b115k",
  "EVA02-E-14-plus": "timm/eva02_enormous_patch14_plus_clip_224.laion2b_s9b_b144k",
};
const PREFERRED = ["open_clip_model.safetensors", "model.safetensors"];
const ENDINGS = [".safetensors", ".pt", ".pth", ".bin"];
const ATTEMPTS = 5;

export type PullOptions = {
  /** A model's name or a hub id "owner/name". */
  model: string;
  out: string;
  revision: string;
  hubUrl?: string | undefined;
  token?: string | undefined;
  /** One file of the repository, where it holds several checkpoints. */
  file?: string | undefined;
  /** Called as bytes arrive. */
  onProgress: (progress: { file: string; bytes: number; bytesTotal: number }) => void;
  /** Waits before another try; a clock of the caller's. */
  wait: (ms: number) => Promise<void>;
  signal: AbortSignal;
};

type Hub = { hubUrl?: string; accessToken?: string; fetch: typeof fetch };
type Wanted = { path: string; size: number; sha256: string | null };

export async function pull(options: PullOptions): Promise<PulledFiles> {
  const id = hubId(options.model);
  const hub: Hub = {
    fetch: (input, init) => fetch(input, { ...init, signal: options.signal }),
    ...(options.hubUrl !== undefined && { hubUrl: options.hubUrl.replace(/\/+$/, "") }),
    ...(options.token !== undefined && { accessToken: options.token }),
  };
  const { revision, licence } = await told(options.token, `asking the hub about ${id}`, () => describe(id, options.revision, hub));
  const wanted = await told(options.token, `listing the files of ${id}`, () => choose(id, revision, hub, options.file));
  await mkdir(options.out, { recursive: true });
  const files: PulledFiles["files"] = [];
  for (const one of wanted) {
    files.push({ path: one.path, ...(await fetchFile(id, revision, one, hub, options)) });
  }
  const pulled: PulledFiles = { id, revision, licence, files };
  await writeFile(join(options.out, PULLED_FILE), `${JSON.stringify(pulled, null, 2)}\n`);
  return pulled;
}

function hubId(model: string): string {
  if (Object.hasOwn(PUBLISHED, model)) return PUBLISHED[model] as string;
  if (/^[A-Za-z0-9._-]{1,96}\/[A-Za-z0-9._-]{1,96}$/.test(model)) return model;
  throw new KenpinError(
    "unknown-model",
    `"${model}" is no hub id (owner/name) and no published model; known: ${Object.keys(PUBLISHED).join(", ")}`,
  );
}

async function describe(id: string, revision: string, hub: Hub): Promise<{ revision: string; licence: string }> {
  const info = await modelInfo({ name: id, revision, additionalFields: ["sha", "cardData", "tags"], ...hub });
  const tagged = info.tags?.find((tag) => tag.startsWith("license:"))?.slice("license:".length);
  const licence = info.cardData?.license ?? tagged ?? "not recorded";
  return { revision: info.sha, licence: String(licence).slice(0, 300) };
}

/** open_clip's own safetensors first; then an index with all its files; then the one checkpoint there is. */
async function choose(id: string, revision: string, hub: Hub, only: string | undefined): Promise<Wanted[]> {
  const listed: Wanted[] = [];
  for await (const entry of listFiles({ repo: id, revision, ...hub })) if (entry.type === "file") listed.push(wantedOf(entry));
  const named = (path: string) => listed.filter((one) => one.path === path);
  if (only !== undefined) {
    if (named(only).length === 1) return named(only);
    throw new KenpinError(
      "file-missing",
      `${id} has no file ${only}; it has ${listed
        .map(({ path }) => path)
        .slice(0, 20)
        .join(", ")}`,
    );
  }
  for (const name of PREFERRED) if (named(name).length === 1) return named(name);
  const index = listed.find(({ path }) => path.endsWith(".safetensors.index.json"));
  if (index) {
    const stem = basename(index.path, ".safetensors.index.json");
    return [index, ...listed.filter(({ path }) => path.startsWith(`${stem}-`) && path.endsWith(".safetensors"))];
  }
  const candidates = listed.filter(({ path }) => !path.includes("/") && ENDINGS.some((ending) => path.endsWith(ending)));
  if (candidates.length === 1) return candidates;
  throw new KenpinError(
    "file-missing",
    `${id} holds ${candidates.length} checkpoints (${candidates.map(({ path }) => path).join(", ")}); choose one with --file`,
  );
}

function wantedOf({ path, size, lfs }: ListFileEntry): Wanted {
  return { path, size: lfs?.size ?? size, sha256: lfs?.oid.replace(/^sha256:/, "") ?? null };
}

/** Continues `<file>.part`, then proves the whole and gives it its name. A file that is there and right is not fetched again. */
async function fetchFile(id: string, revision: string, wanted: Wanted, hub: Hub, options: PullOptions) {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(wanted.path))
    throw new KenpinError("file-missing", `${id} names a file in a folder, which is not fetched`);
  const target = join(options.out, wanted.path);
  const have = await sha256Of(target).catch(() => null);
  if (have && have.bytes === wanted.size && (wanted.sha256 === null || have.sha256 === wanted.sha256)) return have;
  const part = await partOf(target, revision);
  for (let attempt = 1; ; attempt++) {
    try {
      await told(options.token, `fetching ${wanted.path}`, () => continueDownload(id, revision, wanted, part, hub, options));
      break;
    } catch (error) {
      if (attempt === ATTEMPTS || options.signal.aborted || isRefusal(error)) throw error;
      await options.wait(1000 * 2 ** (attempt - 1));
    }
  }
  const got = await sha256Of(part);
  if (wanted.sha256 !== null && got.sha256 !== wanted.sha256) {
    await rm(part, { force: true });
    throw new KenpinError(
      "digest-mismatch",
      `${wanted.path} has sha256 ${got.sha256}, the hub names ${wanted.sha256}; it was thrown away, pull again`,
    );
  }
  await rename(part, target);
  await rm(`${part}.revision`, { force: true });
  return got;
}

/** Half a file is only continued for the revision that it belongs to. */
async function partOf(target: string, revision: string): Promise<string> {
  const part = `${target}.part`;
  const of = await readFile(`${part}.revision`, "utf8").catch(() => null);
  if (of !== revision) await rm(part, { force: true });
  await writeFile(`${part}.revision`, revision);
  return part;
}

async function continueDownload(
  id: string,
  revision: string,
  { path, size }: Wanted,
  part: string,
  hub: Hub,
  options: PullOptions,
): Promise<void> {
  let bytes = (await stat(part).catch(() => null))?.size ?? 0;
  if (bytes > size) {
    await rm(part);
    bytes = 0;
  }
  options.onProgress({ file: path, bytes, bytesTotal: size });
  if (bytes === size && size > 0) return;
  const blob = await downloadFile({ repo: id, revision, path, ...hub });
  if (!blob) throw new KenpinError("file-missing", `${id} has no file ${path} at revision ${revision}`);
  const count = async function* (chunks: AsyncIterable<Uint8Array>) {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      options.onProgress({ file: path, bytes, bytesTotal: size });
      yield chunk;
    }
  };
  const body = Readable.fromWeb(blob.slice(bytes).stream() as Parameters<typeof Readable.fromWeb>[0]);
  await pipeline(body, count, createWriteStream(part, { flags: bytes > 0 ? "a" : "w" }), { signal: options.signal });
  if (bytes !== size) throw new KenpinError("download-cut", `${path} ended at ${bytes} of ${size} bytes; it is continued`);
}

/** What asking again will not change. */
function isRefusal(error: unknown): boolean {
  return error instanceof KenpinError && ["hub-refused", "file-missing"].includes(error.code);
}

/** Whatever the hub's client throws, as one line without the token. */
async function told<T>(token: string | undefined, what: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof KenpinError) throw error;
    const status = (error as { statusCode?: number }).statusCode;
    const line = errorLine(error).split("\n")[0] as string;
    const clean = token ? line.replaceAll(token, "<token>") : line;
    if (status === 401 || status === 403)
      throw new KenpinError("hub-refused", `${what}: the hub refused (${status}); set HF_TOKEN to a token that may read it`);
    if (status === 404) throw new KenpinError("hub-refused", `${what}: the hub knows no such model or revision`);
    throw new KenpinError("hub-unreachable", `${what}: ${clean}; pull again to continue`);
  }
}
