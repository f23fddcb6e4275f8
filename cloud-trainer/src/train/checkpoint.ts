/**
 * One step checkpoint: a folder of safetensors files and state.json, which is written last and holds size and sha256 of each
 * file and a digest of itself. It is filled under a temporary name, flushed to the disk, then renamed, so that a folder of
 * this name is whole or was damaged later; reading checks every byte and says what is wrong.
 * In: tensors by file and name, and a state that is JSON. Out: the same, exactly: float32 stays float32.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type ByteSource, openSafetensors, safetensorsStream, type Tensor } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { z } from "zod";

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const Envelope = z.strictObject({
  formatVersion: z.literal(1),
  step: z.int().min(0),
  /** False while the loss was rising: such a state is resumed from but not gone back to. */
  steady: z.boolean(),
  /** Length of metrics.jsonl when this was made. */
  metricsBytes: z.int().min(0),
  files: z
    .array(z.strictObject({ name: z.string().regex(/^[a-z][a-z0-9-]{0,60}\.safetensors$/), bytes: z.int().min(8), sha256: Sha256 }))
    .min(1)
    .max(16),
  /** The loop's own; its schema stands where it is used. */
  state: z.unknown(),
});
const StateFile = z.strictObject({ sha256: Sha256, body: Envelope });
/** A window of 10,000 losses and norms takes 400 kB. */
const STATE_LIMIT_BYTES = 4 * 1024 * 1024;

type TensorFiles = ReadonlyMap<string, ReadonlyMap<string, Tensor>>;
export type Checkpoint = Omit<z.infer<typeof Envelope>, "formatVersion" | "files"> & { tensors: TensorFiles };
/** Each file's tensors are asked for when its turn comes, so that only one file's are in memory twice. */
export type CheckpointPlan = Omit<Checkpoint, "tensors"> & { tensors: ReadonlyMap<string, () => ReadonlyMap<string, Tensor>> };

export async function writeCheckpoint(folder: string, { tensors, ...rest }: CheckpointPlan): Promise<void> {
  const partial = join(dirname(folder), `.partial-${basename(folder)}`);
  try {
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    const files: z.infer<typeof Envelope>["files"] = [];
    for (const [name, read] of tensors) files.push({ name, ...(await writeTensors(join(partial, name), read())) });
    const body = JSON.stringify({ formatVersion: 1, ...rest, files });
    await writeFlushed(join(partial, "state.json"), (file) => file.writeFile(`{"sha256":"${digest(body)}","body":${body}}\n`));
    await syncFolder(partial);
    await putInPlace(partial, folder);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw diskError(error, folder);
  }
}

/** Throws a KenpinError that says what is not whole. */
export async function readCheckpoint(folder: string): Promise<Checkpoint> {
  const { files, formatVersion: _, ...rest } = await readHead(folder);
  const tensors = new Map<string, ReadonlyMap<string, Tensor>>();
  for (const { name, bytes, sha256 } of files) {
    const file = join(folder, name);
    const found = await stat(file).catch(() => null);
    if (found?.size !== bytes) throw broken(name, `expected ${bytes} bytes, found ${found ? found.size : "no file"}`);
    if ((await fileDigest(file)) !== sha256) throw broken(name, "its sha256 is not the one that was written");
    tensors.set(name, await readTensors(file, bytes));
  }
  return { ...rest, tensors };
}

/** A full disk, or a quota, as one error that says what to do; any other error as it is. */
export function diskError(error: unknown, file: string): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code !== "ENOSPC" && code !== "EDQUOT" && code !== "EFBIG") return error;
  const what = code === "ENOSPC" ? "the disk is full" : "the limit on file sizes or disk use is reached";
  return new KenpinError(
    "disk-full",
    `${file} could not be written: ${what} (${code}); the last whole checkpoint is untouched: make room, then start the run again`,
    { cause: error },
  );
}

/** So that a renamed or removed name survives a power cut too. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return; // folders cannot be opened there, and NTFS journals names
  const handle = await open(folder, "r");
  await handle.sync().finally(() => handle.close());
}

async function writeTensors(file: string, tensors: ReadonlyMap<string, Tensor>): Promise<{ bytes: number; sha256: string }> {
  const shapes = new Map([...tensors].map(([name, { shape }]) => [name, shape]));
  const hash = createHash("sha256");
  let bytes = 0;
  await writeFlushed(file, async (handle) => {
    for await (const piece of safetensorsStream({ shapes, read: async (name) => (tensors.get(name) as Tensor).data })) {
      hash.update(piece);
      bytes += piece.length;
      await handle.writeFile(piece);
    }
  });
  return { bytes, sha256: hash.digest("hex") };
}

async function writeFlushed(file: string, fill: (handle: FileHandle) => Promise<void>): Promise<void> {
  const handle = await open(file, "w");
  try {
    await fill(handle);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A folder of that name is a broken one or the same step made again; the checkpoint before it covers the moment between. */
async function putInPlace(partial: string, folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await rename(partial, folder);
  await syncFolder(dirname(folder));
}

/** What state.json says, with the tensors' files not yet looked at. */
export async function readHead(folder: string): Promise<z.infer<typeof Envelope>> {
  const file = join(folder, "state.json");
  const size = await stat(file).then(
    (found) => found.size,
    () => null,
  );
  if (size === null) throw broken("state.json", "it is missing");
  if (size > STATE_LIMIT_BYTES) throw broken("state.json", `it has ${size} bytes; at most ${STATE_LIMIT_BYTES} are read`);
  const text = await readFile(file, "utf8");
  const parsed = StateFile.safeParse(parseJson(text));
  if (!parsed.success) throw broken("state.json", "it is cut or not of this format");
  const { sha256, body } = parsed.data;
  // The digest is of the body's own text, which stands between the head of fixed length and the closing brace.
  const written = text.slice(`{"sha256":"${sha256}","body":`.length, text.lastIndexOf("}"));
  if (digest(written) !== sha256) throw broken("state.json", "its sha256 is not the one that was written");
  return body;
}

async function readTensors(file: string, size: number): Promise<ReadonlyMap<string, Tensor>> {
  const handle = await open(file, "r");
  try {
    const read: ByteSource["read"] = async (offset, length) => {
      const bytes = new Uint8Array(length);
      const { bytesRead } = await handle.read(bytes, 0, length, offset);
      if (bytesRead < length) throw broken(basename(file), `it ended at byte ${offset + bytesRead}`);
      return bytes;
    };
    const stored = await openSafetensors({ size, read });
    const tensors = new Map<string, Tensor>();
    for (const name of stored.names) tensors.set(name, { shape: stored.shape(name), data: await stored.tensor(name) });
    return tensors;
  } finally {
    await handle.close();
  }
}

async function fileDigest(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(file, { highWaterMark: 1024 * 1024 })) hash.update(piece as Buffer);
  return hash.digest("hex");
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function broken(name: string, why: string): KenpinError {
  return new KenpinError("checkpoint-broken", `${name} of the checkpoint is not whole: ${why}`);
}
