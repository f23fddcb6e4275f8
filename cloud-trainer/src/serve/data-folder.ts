/** The hub's data folder: made at the first start, checked at every one, so that a wrong path fails with one clear line. */
import { constants } from "node:fs";
import { access, mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { KenpinError } from "@kenpin/schema";

export async function openDataFolder(folder: string): Promise<void> {
  try {
    await makeFolder(folder);
    await access(folder, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw new KenpinError(
      "data-folder-unusable",
      `the data folder ${folder} cannot be used: ${(error as Error).message}; choose another with --data`,
      { cause: error },
    );
  }
}

/** Parent by parent: Node's recursive mkdir never returns on file systems that answer ENOENT to it, such as /proc. */
async function makeFolder(folder: string): Promise<void> {
  const parent = dirname(folder);
  if (parent !== folder && !(await exists(parent))) await makeFolder(parent);
  if (!(await exists(folder))) await mkdir(folder, { mode: 0o750 });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
