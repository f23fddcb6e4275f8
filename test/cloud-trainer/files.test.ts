/** A folder that is whole or not there, and never takes the place of something that is somebody's. */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { wholeFolder } from "../../cloud-trainer/src/files.ts";
import { inFolder } from "./import/seeded-checkpoint.ts";

const fill = (folder: string) => writeFile(join(folder, "made"), "yes");

test("a new or an empty folder is filled and gets its name at the end", async () => {
  await inFolder(async (dir) => {
    await mkdir(join(dir, "empty"));
    for (const name of ["new", "empty", "deep/er"]) {
      await wholeFolder(join(dir, name), fill);
      assert.deepEqual(await readdir(join(dir, name)), ["made"]);
    }
    assert.deepEqual((await readdir(dir)).sort(), ["deep", "empty", "new"]);
  });
});

test("a file of that name and a folder that holds anything are left as they are", async () => {
  await inFolder(async (dir) => {
    await writeFile(join(dir, "file"), "mine");
    await mkdir(join(dir, "full"));
    await writeFile(join(dir, "full/note"), "mine");
    await assert.rejects(wholeFolder(join(dir, "file"), fill), { code: "folder-taken" });
    await assert.rejects(wholeFolder(join(dir, "full"), fill), { code: "folder-not-empty", message: /already holds 1 files/ });
    assert.equal(await readFile(join(dir, "file"), "utf8"), "mine");
    assert.deepEqual(await readdir(join(dir, "full")), ["note"]);
  });
});

test("a failure in the middle leaves nothing behind, and a place that is no folder is said so", async () => {
  await inFolder(async (dir) => {
    const broken = async (folder: string) => {
      await fill(folder);
      throw new Error("the power is gone");
    };
    await assert.rejects(wholeFolder(join(dir, "out"), broken), /the power is gone/);
    await writeFile(join(dir, "file"), "mine");
    await assert.rejects(wholeFolder(join(dir, "file/out"), fill), { code: "folder-unwritable", message: /cannot be written \(ENOTDIR\)/ });
    assert.deepEqual(await readdir(dir), ["file"]);
  });
});
