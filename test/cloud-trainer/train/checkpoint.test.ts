/** One checkpoint on real disks: whole or not there, exact, and clear about what is wrong with it. */
import assert from "node:assert/strict";
import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { diskError, readCheckpoint, writeCheckpoint } from "../../../cloud-trainer/src/train/checkpoint.ts";
import { mountSmallDisk } from "../../support/small-disk.ts";
import { inFolder } from "../import/seeded-checkpoint.ts";

const NUMBERS = Float32Array.of(1 / 3, -0, 1e-45, 3.4e38, Math.fround(Math.PI));
const PLAN = {
  step: 120,
  steady: true,
  metricsBytes: 17,
  state: { draw: 130, seconds: 0.1 + 0.2, why: "a } in a text, and é" },
  tensors: new Map([
    [
      "model.safetensors",
      () =>
        new Map([
          ["w", { shape: [5], data: NUMBERS }],
          ["scale", { shape: [], data: Float32Array.of(2) }],
        ]),
    ],
    ["optimizer.safetensors", () => new Map([["m.w", { shape: [5, 1], data: NUMBERS.map((x) => -x) }]])],
  ] as [string, () => Map<string, { shape: number[]; data: Float32Array }>][]),
};

test("a checkpoint gives back its tensors bit for bit, and its state", async () => {
  await inFolder(async (dir) => {
    const folder = join(dir, "step-00000120");
    await writeCheckpoint(folder, PLAN);
    const { tensors, ...rest } = await readCheckpoint(folder);
    const { tensors: written, ...plan } = PLAN;
    assert.deepEqual(rest, plan);
    for (const [file, read] of written) assert.deepEqual(tensors.get(file), read());
    assert.ok(Object.is(tensors.get("model.safetensors")?.get("w")?.data[1], -0));
    assert.deepEqual(await readdir(dir), ["step-00000120"], "nothing half-written is left");
  });
});

test("whatever byte of a checkpoint is changed, cut off or missing, it is called broken", async () => {
  await inFolder(async (dir) => {
    const whole = join(dir, "whole");
    await writeCheckpoint(whole, PLAN);
    const damaged = join(dir, "damaged");
    const damage = async (what: (file: string) => Promise<void>, file: string) => {
      await cp(whole, damaged, { recursive: true });
      await what(join(damaged, file));
      await assert.rejects(readCheckpoint(damaged), { code: "checkpoint-broken", message: new RegExp(file) }, `${file} ${what}`);
      await rm(damaged, { recursive: true });
    };
    for (const file of await readdir(whole)) {
      const bytes = await readFile(join(whole, file));
      await damage((path) => rm(path), file);
      await damage((path) => truncate(path, bytes.length - 3), file);
      await damage((path) => truncate(path, 0), file);
      for (let at = 0; at < bytes.length - 1; at += 7) {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] as number) ^ 1;
        await damage((path) => writeFile(path, changed), file);
      }
    }
  });
});

test("a checkpoint is written over a broken one of the same step", async () => {
  await inFolder(async (dir) => {
    const folder = join(dir, "step-00000120");
    await mkdir(join(folder, "model.safetensors"), { recursive: true });
    await mkdir(join(dir, ".partial-step-00000120"));
    await writeCheckpoint(folder, PLAN);
    assert.equal((await readCheckpoint(folder)).step, 120);
    assert.deepEqual(await readdir(dir), ["step-00000120"]);
  });
});

test("a full disk is one clear error; the part is removed and the checkpoint before it is whole", async (t) => {
  await inFolder(async (dir) => {
    const disk = mountSmallDisk(dir, "256k");
    if (!disk) return t.skip("this user may not mount a small file system");
    try {
      await writeCheckpoint(join(dir, "step-00000120"), PLAN);
      const large = new Map([["model.safetensors", () => new Map([["w", { shape: [100_000], data: new Float32Array(100_000) }]])]]);
      await assert.rejects(writeCheckpoint(join(dir, "step-00000130"), { ...PLAN, step: 130, tensors: large }), {
        code: "disk-full",
        message: /step-00000130 could not be written: the disk is full \(ENOSPC\).*make room, then start the run again/,
      });
      assert.deepEqual(await readdir(dir), ["step-00000120"]);
      assert.equal((await readCheckpoint(join(dir, "step-00000120"))).step, 120);
    } finally {
      disk.remove();
    }
  });
});

test("only a disk without room is called full", () => {
  const other = Object.assign(new Error("no"), { code: "EACCES" });
  assert.equal(diskError(other, "x"), other);
  assert.match((diskError(Object.assign(new Error("no"), { code: "EDQUOT" }), "x") as Error).message, /limit on file sizes or disk use/);
});
