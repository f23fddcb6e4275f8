/**
 * Opens whatever a published checkpoint lies in: one safetensors file, an index with its files, a PyTorch .pt, or a folder
 * that holds one of them, as `kenpin pull` leaves it. What a file is, its first bytes say, not its name.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Checkpoint, openPytorch, openSafetensors, openSafetensorsIndex } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { type OpenFile, openFile } from "../files.ts";

export type OpenCheckpoint = {
  checkpoint: Checkpoint;
  /** Every file the tensors lie in, for the card. */
  files: string[];
  close: () => Promise<void>;
};

/** In the order they are looked for: open_clip's own name first. */
const PREFERRED = [
  "open_clip_model.safetensors",
  "model.safetensors",
  "open_clip_model.safetensors.index.json",
  "model.safetensors.index.json",
];
const ENDINGS = [".safetensors", ".pt", ".pth", ".bin"];
/** An index of 2,000 tensors takes 200 kB. */
const INDEX_LIMIT_BYTES = 16 * 1024 * 1024;

export async function openCheckpoint(path: string): Promise<OpenCheckpoint> {
  const file = await checkpointIn(path);
  const opened = new Map<string, OpenFile>();
  const close = async () => {
    for (const { close: end } of opened.values()) await end();
  };
  const open = async (name: string) => {
    const one = await openFile(join(dirname(file), name));
    opened.set(join(dirname(file), name), one);
    return one.source;
  };
  try {
    const checkpoint = file.endsWith(".index.json") ? await openSafetensorsIndex(await readIndex(file), open) : await openOne(file, open);
    return { checkpoint, files: [...opened.keys()], close };
  } catch (error) {
    await close();
    if (error instanceof KenpinError) throw new KenpinError(error.code, `${file}: ${error.message}`, { cause: error });
    throw error;
  }
}

async function openOne(file: string, open: (name: string) => Promise<OpenFile["source"]>): Promise<Checkpoint> {
  const source = await open(basename(file));
  const [a, b] = await source.read(0, Math.min(2, source.size));
  if (a === 0x50 && b === 0x4b) return openPytorch(source);
  // Before PyTorch 1.6 a checkpoint was a bare pickle; safetensors would have to claim a header of half a kilobyte or more.
  if (a === 0x80 && (b as number) <= 5 && !file.endsWith(".safetensors")) {
    throw new KenpinError("checkpoint-too-old", "this is a pickle of PyTorch before 1.6; load and save it once with a newer PyTorch");
  }
  return openSafetensors(source);
}

async function readIndex(file: string): Promise<unknown> {
  const { size } = await stat(file);
  if (size > INDEX_LIMIT_BYTES)
    throw new KenpinError("checkpoint-broken", `the index has ${size} bytes; at most ${INDEX_LIMIT_BYTES} are read`);
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new KenpinError("checkpoint-broken", "the index is no JSON; fetch it again", { cause: error });
  }
}

async function checkpointIn(path: string): Promise<string> {
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new KenpinError("file-unreadable", `${path} cannot be opened (${error.code}); check the path`, { cause: error });
  });
  if (!info.isDirectory()) return path;
  const names = await readdir(path);
  const found = PREFERRED.find((name) => names.includes(name));
  if (found) return join(path, found);
  const candidates = names.filter((name) => ENDINGS.some((ending) => name.endsWith(ending)));
  if (candidates.length === 1) return join(path, candidates[0] as string);
  throw new KenpinError(
    "checkpoint-missing",
    `${path} holds ${candidates.length} checkpoints (${candidates.sort().join(", ")}); name one file`,
  );
}
