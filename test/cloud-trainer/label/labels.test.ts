/** What people say of samples, kept so that the latest word counts and the earlier ones can be looked up. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Label } from "@kenpin/schema";
import { openLabels } from "../../../cloud-trainer/src/label/labels.ts";
import type { Database } from "../../../cloud-trainer/src/ports.ts";
import { openBlobs } from "../../../cloud-trainer/src/samples/blobs.ts";
import { openLedger } from "../../../cloud-trainer/src/samples/ledger.ts";
import { openDatabase } from "../../../cloud-trainer/src/serve/database.ts";
import { makePicture, makeSample, makeVerdict, type Picture } from "../../support/hub.ts";

let folder: string;
let database: Database;
let labels: Awaited<ReturnType<typeof openLabels>>;
let pictures: Picture[];
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kenpin-labels-"));
  database = openDatabase(join(folder, "hub.sqlite"));
  const ledger = await openLedger(database);
  const blobs = await openBlobs({ database, dataDir: folder });
  labels = await openLabels(database);
  pictures = await Promise.all([1, 2, 3].map((shade) => makePicture(shade)));
  const boot = randomUUID();
  for (const [i, picture] of [...pictures, pictures[0] as Picture].entries()) {
    const source = { site: "demo", agent: "edge-1", boot, seq: i + 1 };
    const value = makeSample(makeVerdict({ bootId: boot, seq: 100 + i }), i + 1, picture.ref);
    const entry = { ...source, kind: "sample", value, topic: "", raw: Buffer.alloc(0) } as const;
    await database.transaction((tx) => ledger.record(tx, entry, new Date().toISOString()));
  }
  for (const { sha256, bytes } of pictures.slice(0, 2)) await blobs.put(sha256, once(bytes), { site: "demo", agent: "edge-1" });
});
after(async () => {
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

test("the latest label of a frame counts, and earlier ones stay on record", async () => {
  await labels.store([say(0, "good")]);
  await labels.store([say(0, "bad")]);
  const rows = await labels.samplesOf(pictures[0]?.sha256 as string);
  assert.deepEqual(
    rows.map((row) => row.label?.label),
    ["bad", "bad"],
    "both samples of this frame carry its label",
  );
  assert.equal((await database.all("SELECT 1 FROM labels")).length, 2);
});

test("a run learns from each frame once, and only where its picture is here", async () => {
  await labels.store([say(1, "good"), say(2, "bad")]);
  const learnable = await labels.learnable();
  assert.deepEqual(
    learnable.map(({ sample, label }) => [sample.frame.sha256, label]),
    [
      [pictures[0]?.sha256, "bad"],
      [pictures[1]?.sha256, "good"],
    ],
  );
});

test("a frame called unsure waits no longer, but nothing is learnt from it", async () => {
  await labels.store([say(1, "unsure")]);
  assert.equal((await labels.learnable()).length, 1);
  assert.deepEqual(await labels.samples({ unlabelled: true }), []);
});

test("when one label of a request names no sample, none of them is stored", async () => {
  const before = (await database.all("SELECT 1 FROM labels")).length;
  const stranger: Label = { sample: "0".repeat(64), label: "good", by: "ito" };
  await assert.rejects(labels.store([say(0, "good"), stranger]), { code: "sample-unknown" });
  assert.equal((await database.all("SELECT 1 FROM labels")).length, before);
});

test("labels of a set's ground truth are counted apart from people's", async () => {
  await labels.store([{ ...say(2, "bad"), by: "ground-truth" }]);
  assert.deepEqual(await labels.counts(), { announced: 4, unlabelled: 0, labelledByGroundTruth: 1 });
});

function say(picture: number, label: Label["label"]): Label {
  return { sample: pictures[picture]?.sha256 as string, label, by: "ito" };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
