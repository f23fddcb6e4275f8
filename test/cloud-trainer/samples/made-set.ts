/** Pictures of noise, smooth enough to look like a surface, written as sets of every kind: seeded, so that a test repeats. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { createRandom } from "@kenpin/stats";
import sharp from "sharp";

/** A folder that is gone after the tests of the file. */
export async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-set-"));
  after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Files by path; folders are made. */
export async function place(root: string, files: Record<string, Uint8Array | string>): Promise<string> {
  for (const [path, body] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), body);
  }
  return root;
}

type Look = { width?: number; height?: number; format?: "png" | "jpeg" | "tiff" | "webp"; blur?: number };

/** A surface of its own for each seed. */
export async function surface(seed: number, { width = 96, height = 80, format = "png", blur = 1 }: Look = {}): Promise<Uint8Array> {
  const random = createRandom(seed);
  const data = Uint8Array.from({ length: width * height * 3 }, () => 70 + random.int(120));
  const image = sharp(data, { raw: { width, height, channels: 3 } }).blur(blur);
  return new Uint8Array(await image.toFormat(format).toBuffer());
}

export async function plain(grey: number, side = 96): Promise<Uint8Array> {
  const background = { r: grey, g: grey, b: grey };
  const blank = sharp({ create: { width: side, height: side, channels: 3, background } });
  return new Uint8Array(await blank.png().toBuffer());
}
