/** Sealing: what a trainer staged becomes a bundle that an agent, knowing only the root key, takes as it is. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { trustedKeys, unpackBundle } from "@kenpin/bundle";
import { pino } from "pino";
import { openKeys } from "../../../cloud-trainer/src/bundle/keys.ts";
import { openShelf } from "../../../cloud-trainer/src/bundle/shelf.ts";
import { openDatabase } from "../../../cloud-trainer/src/serve/database.ts";
import { stageTestBundle } from "../../support/staged-bundle.ts";

const log = pino({ level: "silent" });
const WORDS = { good: ["even cloth"], bad: ["torn cloth"] };
let dataDir: string;
before(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "kenpin-shelf-"));
  await mkdir(join(dataDir, "base"));
  await writeFile(join(dataDir, "base/model.safetensors"), "stands for the base model: only its digest enters the lineage");
});
after(() => rm(dataDir, { recursive: true, force: true }));

async function open() {
  const database = openDatabase(join(dataDir, "hub.sqlite"));
  const keys = await openKeys({ dataDir, now: new Date(), log });
  const shelf = await openShelf({
    database,
    dataDir,
    baseDir: join(dataDir, "base"),
    keys,
    stage: ({ outDir }) => stageTestBundle(outDir),
  });
  return { database, keys, shelf };
}

test("a bundle from words is signed, expires in a year, and an agent that pins the root key takes it", async () => {
  const { database, keys, shelf } = await open();
  const row = await shelf.make({ name: "cloth", ...WORDS });
  const outDir = join(dataDir, "agent");
  const at = { tar: shelf.path(row.digest), outDir, rootKey: keys.rootKey, newestRelease: 0, agentVersion: "99.0.0" };
  const { manifest, digest } = await unpackBundle({ ...at, now: new Date() });
  assert.equal(digest, row.digest);
  assert.deepEqual([manifest.name, manifest.release, manifest.lineage.parent], ["cloth", row.release, null]);
  assert.match(manifest.lineage.recipe, /^[0-9a-f]{64}$/);
  assert.equal((await stat(shelf.path(row.digest))).size, row.bytes);
  const nextYear = new Date(Date.now() + 366 * 86_400_000);
  await assert.rejects(unpackBundle({ ...at, now: nextYear }), { code: "bundle-expired" });
  assert.deepEqual(await shelf.originOf(row.digest), { words: WORDS, modelDir: join(dataDir, "base") });
  await database.close();
});

test("releases rise over the whole hub, also when several are made at once and after a restart", async () => {
  const first = await open();
  const rows = await Promise.all(["a", "b", "c"].map((name) => first.shelf.make({ name, ...WORDS })));
  await first.database.close();
  const second = await open();
  const last = await second.shelf.make({ name: "d", ...WORDS });
  const releases = [...rows, last].map(({ release }) => release);
  assert.deepEqual(releases, [2, 3, 4, 5]);
  assert.equal(first.keys.rootKey, second.keys.rootKey);
  assert.deepEqual(
    (await readdir(join(dataDir, "bundles"))).filter((name) => !name.endsWith(".kenpin")),
    [],
  );
  await second.database.close();
});

test("a bundle of a run names its parent, and later runs go on from its model", async () => {
  const { database, shelf } = await open();
  const parent = await shelf.make({ name: "parent", ...WORDS });
  const folder = join(dataDir, "runs/r1/staged");
  const staged = await stageTestBundle(folder);
  const lineage = { run: "r1", parent: parent.digest, data: [], recipe: "c".repeat(64) };
  const row = await shelf.sealRun({ folder, staged, name: "tuned", lineage, words: WORDS, model: "runs/r1/model" });
  assert.equal(row.parent, parent.digest);
  assert.deepEqual(await shelf.originOf(row.digest), { words: WORDS, modelDir: join(dataDir, "runs/r1/model") });
  await database.close();
});

test("with the root key moved offline the hub goes on signing, and agents go on trusting it", async () => {
  const { database, keys } = await open();
  await database.close();
  await rm(join(dataDir, "keys/root.json"));
  const later = await openKeys({ dataDir, now: new Date(), log });
  assert.equal(later.rootKey, keys.rootKey);
  assert.ok((await trustedKeys(later.keysJws, keys.rootKey, new Date())).has(later.signingKey.keyId));
});

test("a signing key that the root's list does not name is refused at the start", async () => {
  const file = join(dataDir, "keys/signing.json");
  const good = await readFile(file, "utf8");
  await writeFile(file, good.replace("signing-1", "signing-2"));
  await assert.rejects(openKeys({ dataDir, now: new Date(), log }), { code: "signing-key-untrusted" });
  await writeFile(file, good);
});
