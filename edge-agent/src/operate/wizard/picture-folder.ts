/** The pictures of a folder on this device, in the order of their names; what is no picture by its name is passed over. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { KenpinError } from "@kenpin/schema";

export const PICTURE_LIMIT_BYTES = 64 * 1024 * 1024;
const PICTURE_NAME = /\.(jpe?g|png|webp|bmp|tiff?)$/i;

export async function pictureNames(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw new KenpinError("folder-unreadable", `${folder} cannot be read; pass a folder of pictures`, { cause });
  });
  return names.filter((one) => PICTURE_NAME.test(one)).sort();
}

export async function readPicture(folder: string, name: string): Promise<Uint8Array> {
  const file = join(folder, name);
  if ((await stat(file)).size > PICTURE_LIMIT_BYTES)
    throw new KenpinError("body-too-large", `${file} has more than ${PICTURE_LIMIT_BYTES} bytes`);
  return readFile(file);
}
