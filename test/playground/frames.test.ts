/** Which frames nobody may learn from: decided by their bytes alone. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { LineCamera, splitFrames } from "@kenpin/playground";

const TEXTILE = resolve(import.meta.dirname, "../../examples/textile");
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "kenpin-frames-"));
});
after(() => rm(folder, { recursive: true, force: true }));

test("of the textile frames 80 stay unseen, half of them good: those with the lowest sha256 of each kind", () => {
  const { unseen, seen } = splitFrames(TEXTILE);
  const count = (kind: string) => [unseen, seen].map((frames) => frames.filter((frame) => frame.kind === kind).length);
  assert.deepEqual(
    { good: count("good"), local: count("local"), global: count("global") },
    { good: [40, 60], local: [20, 30], global: [20, 30] },
  );
  for (const kind of ["good", "local", "global"]) {
    const digests = (frames: typeof seen) => frames.filter((frame) => frame.kind === kind).map(({ sha256 }) => sha256);
    const highestUnseen = digests(unseen).toSorted().at(-1) as string;
    assert.ok(
      digests(seen).every((sha256) => sha256 > highestUnseen),
      kind,
    );
  }
  for (const { file, sha256, kind, label } of [...unseen, ...seen]) {
    assert.match(file, new RegExp(`/${kind}/`));
    assert.equal(label, kind === "good" ? "good" : "bad");
    assert.match(sha256, /^[0-9a-f]{64}$/);
  }
  assert.equal(new Set([...unseen, ...seen].map(({ sha256 }) => sha256)).size, 200, "no frame twice");
});

test("names and their order decide nothing", async () => {
  const renamed = join(folder, "renamed");
  for (const kind of await folders(TEXTILE)) {
    await mkdir(join(renamed, kind), { recursive: true });
    const names = (await readdir(join(TEXTILE, kind))).toReversed();
    for (const [i, name] of names.entries()) await cp(join(TEXTILE, kind, name), join(renamed, kind, `${String(i).padStart(4, "0")}.JPG`));
  }
  const digests = (root: string) => splitFrames(root).unseen.map(({ sha256 }) => sha256);
  assert.deepEqual(digests(renamed), digests(TEXTILE));
});

test("other files are no frames; a folder without good frames, or none at all, is said in one clear line", async () => {
  const root = join(folder, "own");
  await mkdir(join(root, "scratch"), { recursive: true });
  await writeFile(join(root, "scratch/a.png"), "a");
  assert.throws(() => splitFrames(root), {
    code: "no-good-frames",
    message: /has no folder "good"; expected good\/ and one folder a defect$/,
  });
  await mkdir(join(root, "good"));
  for (const name of ["b.jpg", "notes.txt", ".DS_Store"]) await writeFile(join(root, "good", name), name);
  assert.deepEqual(
    splitFrames(root).unseen.map(({ kind, sha256 }) => [kind, sha256]),
    [
      ["good", createHash("sha256").update("b.jpg").digest("hex")],
      ["scratch", createHash("sha256").update("a").digest("hex")],
    ],
  );
  for (const nowhere of [join(folder, "nowhere"), join(root, "good/b.jpg")])
    assert.throws(() => splitFrames(nowhere), { code: "no-frames" });
});

test("a line camera renames whole files into place, under names that tell the order and nothing of the picture", async () => {
  const { unseen } = splitFrames(TEXTILE);
  const camera = new LineCamera("audit", join(folder, "camera"));
  const frames = [unseen[0], unseen[50], unseen[70]] as typeof unseen;
  const played = [...(await camera.play(frames.slice(0, 2), 1)), ...(await camera.play(frames.slice(2), 1))];
  assert.deepEqual(
    played.map(({ trigger, frame }) => [trigger, frame.sha256]),
    frames.map(({ sha256 }, i) => [`audit-00000${i + 1}`, sha256]),
  );
  const names = (await readdir(camera.folder)).sort();
  assert.deepEqual(
    names.map((name) => name.replace(/\.\w+$/, "")),
    ["audit-000001", "audit-000002", "audit-000003"],
  );
  for (const [i, name] of names.entries()) {
    assert.deepEqual(await readFile(join(camera.folder, name)), await readFile(frames[i]?.file as string));
  }
  const stopped = new AbortController();
  stopped.abort();
  assert.deepEqual(await camera.play(frames, 1, stopped.signal), []);
});

async function folders(root: string): Promise<string[]> {
  return (await readdir(root, { withFileTypes: true })).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
}
