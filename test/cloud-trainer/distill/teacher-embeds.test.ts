/** The teacher looks once: what is stored is read back to the bit, and made anew when anything it was made of has changed. */
import assert from "node:assert/strict";
import { readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { storedTeacherEmbeds } from "../../../cloud-trainer/src/distill/teacher-embeds.ts";
import { inFolder } from "../import/seeded-checkpoint.ts";

const rows = (length: number, from: number) => Float32Array.from({ length }, (_, i) => Math.sin(from + i) / 3);

test("embeddings are made once and read back to the bit; another key or a cut file has them made anew", async () => {
  await inFolder(async (dir) => {
    const file = join(dir, "teacher.safetensors");
    let made = 0;
    const ask = (key: string) =>
      storedTeacherEmbeds({
        file,
        key,
        views: 3,
        patches: 4,
        embed: async () => {
          made++;
          return { dim: 8, imageEmbeds: rows(24, made), patchEmbeds: rows(96, made), textEmbeds: rows(16, made) };
        },
      });
    const first = await ask("a");
    assert.deepEqual(await ask("a"), first);
    assert.equal(made, 1);
    for (const [i, value] of first.imageEmbeds.entries()) assert.ok(Math.abs(value - Math.sin(1 + i) / 3) < 2e-4, "half precision");
    await ask("b");
    assert.equal(made, 2);
    await truncate(file, (await readFile(file)).length - 10);
    await ask("b");
    assert.equal(made, 3);
    await writeFile(file, "no safetensors at all");
    await ask("b");
    assert.equal(made, 4);
  });
});
