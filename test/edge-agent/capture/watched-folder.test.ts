/** A camera's folder whose names are used again while a frame is in hand: real files, the real watched folder. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Camera } from "@kenpin/schema";
import { pino } from "pino";
import { WatchedFolder } from "../../../edge-agent/src/capture/watched-folder.ts";
import type { Frame } from "../../../edge-agent/src/frame.ts";
import { until } from "../edge-site.ts";

for (const [how, sameTime] of [
  ["a file", false],
  ["a file with the same time of change", true],
] as const) {
  test(`${how} renamed over the one in hand gets its own verdict`, async () => {
    const folder = await mkdtemp(join(tmpdir(), "kenpin-folder-"));
    const time = new Date("2026-01-02T03:04:05Z");
    const place = async (text: string) => {
      await writeFile(join(folder, ".part"), text);
      if (sameTime) await utimes(join(folder, ".part"), time, time);
      await rename(join(folder, ".part"), join(folder, "same.jpg"));
    };
    const answered: string[] = [];
    const removed: Frame[] = [];
    await place("first");
    const source = new WatchedFolder({
      camera: Camera.parse({ name: "line", source: { kind: "folder", path: folder } }),
      path: folder,
      onFrame: async ({ bytes }) => {
        answered.push(Buffer.from(bytes ?? []).toString());
        if (answered.length === 1) await place("second");
        return null;
      },
      onRemoved: (frame) => removed.push(frame),
      isPaused: () => false,
      log: pino({ level: "silent" }),
    });
    try {
      source.start();
      await until("both files to be answered and gone", () => removed.length === 2);
      assert.deepEqual(answered, ["first", "second"]);
      assert.deepEqual(await readdir(folder), []);
    } finally {
      await source.stop();
      await rm(folder, { recursive: true });
    }
  });
}

test("a folder whose newest frame comes first answers the last name, and lets go of what lies there beyond its queue, counted", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-folder-"));
  for (const name of ["a", "b", "c", "d", "e"]) await writeFile(join(folder, `${name}.jpg`), name);
  const answered: string[] = [];
  const queue = { order: "newest-first", frames: 2 };
  const source = new WatchedFolder({
    camera: Camera.parse({ name: "line", source: { kind: "folder", path: folder }, queue }),
    path: folder,
    onFrame: async ({ triggerId }) => {
      answered.push(triggerId);
      return null;
    },
    onRemoved: () => undefined,
    isPaused: () => false,
    log: pino({ level: "silent" }),
  });
  try {
    source.start();
    await until("an empty folder", async () => (await readdir(folder)).length === 0);
    await until("the counts", () => source.counts().waiting === 0);
    assert.deepEqual(answered, ["e", "d"]);
    const { offered, answered: done, shedNewer } = source.counts();
    assert.deepEqual([offered, done, shedNewer], [5, 2, 3]);
  } finally {
    await source.stop();
    await rm(folder, { recursive: true });
  }
});
