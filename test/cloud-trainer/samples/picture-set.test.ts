/** Sets as people keep them: folders, tables, shards, the hub's own; and what is refused, in one clear line each. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { rename, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { KenpinError } from "@kenpin/schema";
import { openPictureSet } from "../../../cloud-trainer/src/samples/picture-set.ts";
import { freshFolder, place, surface } from "./made-set.ts";

const refusal = (code: string, says: RegExp) => (error: unknown) => {
  assert.ok(error instanceof KenpinError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, says);
  assert.doesNotMatch(error.message, /\n/);
  return true;
};

test("a folder in MVTec's layout gives label, kind of defect, split and ground truth of each picture", async () => {
  const mask = await surface(90);
  const root = await place(await freshFolder(), {
    "train/good/000.png": await surface(1),
    "test/good/000.png": await surface(2),
    "test/scratch/000.jpg": await surface(3, { format: "jpeg" }),
    "ground_truth/scratch/000_mask.png": mask,
    "test/dent/7.png": await surface(4),
    "ground_truth/dent/7.png": mask,
    "license.txt": "free",
  });
  const { pictures, root: said } = await openPictureSet(root);
  assert.equal(said, root);
  assert.deepEqual(
    pictures.map(({ key, label, defect, split, mask: truth }) => [key, label, defect, split, truth !== null]),
    [
      ["train/good/000.png", "good", null, "train", false],
      ["test/dent/7.png", "bad", "dent", "test", true],
      ["test/good/000.png", "good", null, "test", false],
      ["test/scratch/000.jpg", "bad", "scratch", "test", true],
    ],
  );
  for (const { bytes, sha256 } of pictures) assert.equal(digest(await bytes()), sha256);
  assert.deepEqual(Buffer.from((await pictures[3]?.mask?.()) as Uint8Array), Buffer.from(mask));
});

test("a flat folder may be named in Japanese, with spaces, and group its pictures by lots", async () => {
  const root = await place(await freshFolder(), {
    "良品/ロット 17/写真 1.png": await surface(1),
    "良品/ロット 18/写真 1.png": await surface(2),
    "不良/a.png": await surface(3),
    "キズ/b.png": await surface(4),
    "unlabelled/c.png": await surface(5),
    "キズ/notes.txt": "twice",
    "良品/.DS_Store": "hidden",
  });
  const set = await openPictureSet(root);
  assert.deepEqual(
    set.pictures.map(({ key, label, defect, group }) => [key, label, defect, group]),
    [
      ["unlabelled/c.png", null, null, null],
      ["キズ/b.png", "bad", "キズ", null],
      ["不良/a.png", "bad", null, null],
      ["良品/ロット 17/写真 1.png", "good", null, "ロット 17"],
      ["良品/ロット 18/写真 1.png", "good", null, "ロット 18"],
    ],
  );
  assert.deepEqual(set.skipped, ["キズ/notes.txt"]);
});

test("a mask is found though one system wrote its Japanese name decomposed", async () => {
  const root = await place(await freshFolder(), {
    ["test/キズ/がぞう.png".normalize("NFC")]: await surface(1),
    ["ground_truth/キズ/がぞう_mask.png".normalize("NFD")]: await surface(2),
  });
  assert.ok((await openPictureSet(root)).pictures[0]?.mask);
});

test("a table gives captions, groups and draw probabilities; rows of one picture add up", async () => {
  const root = await place(await freshFolder(), {
    "images/a 1.jpg": await surface(1, { format: "jpeg" }),
    "images/b.jpg": await surface(2, { format: "jpeg" }),
    "set.csv":
      '\uFEFFfilepath,title,label,lot,probability,remark\r\nimages/a 1.jpg,"a weave, with a ""knot""",NG,7,0.01,x\r\n' +
      "images/b.jpg,flawless,ok,8,,y\r\nimages\\a 1.jpg,another view,bad,7,0.01,z\r\n",
  });
  const expected = [
    ["images/a 1.jpg", "bad", ['a weave, with a "knot"', "another view"], "7", "random", 0.01],
    ["images/b.jpg", "good", ["flawless"], "8", null, null],
  ];
  for (const path of [root, join(root, "set.csv")]) {
    const { pictures } = await openPictureSet(path);
    assert.deepEqual(
      pictures.map(({ key, label, captions, group, reason, drawProbability }) => [key, label, captions, group, reason, drawProbability]),
      expected,
    );
  }
  const { pictures } = await openPictureSet(root, { by: "remark" });
  assert.deepEqual(
    pictures.map(({ group }) => group),
    ["x", "y"],
  );
});

test("open_clip's tab-separated tables are read, quotation marks and commas in captions too", async () => {
  const root = await place(await freshFolder(), {
    "a.png": await surface(1),
    "t.csv": 'filepath\ttitle\na.png\ta 3" bolt, clean\n',
  });
  assert.deepEqual((await openPictureSet(join(root, "t.csv"))).pictures[0]?.captions, ['a 3" bolt, clean']);
});

test("the digest follows pictures, labels and captions, not names or order", async () => {
  const [a, b] = [await surface(1), await surface(2)];
  const open = async (files: Record<string, Uint8Array | string>) => (await openPictureSet(await place(await freshFolder(), files))).digest;
  const one = await open({ "good/a.png": a, "bad/b.png": b });
  assert.equal(await open({ "ok/z.png": a, "ng/c.png": b }), one);
  assert.notEqual(await open({ "good/a.png": b, "bad/b.png": a }), one);
  assert.notEqual(await open({ "a.png": a, "b.png": b, "t.csv": "path,label,caption\na.png,good,new\nb.png,bad,\n" }), one);
});

test("whoever collected a set may say that all of it was drawn at random", async () => {
  const root = await place(await freshFolder(), { "good/a.png": await surface(1), "bad/b.png": await surface(2) });
  const { pictures } = await openPictureSet(root, { drawProbability: 0.02 });
  assert.deepEqual(
    pictures.map(({ reason, drawProbability }) => [reason, drawProbability]),
    [
      ["random", 0.02],
      ["random", 0.02],
    ],
  );
});

test("the hub's labelled samples keep how they were drawn, and each is checked against its digest", async () => {
  const root = await freshFolder();
  const files = { "blobs/one": await surface(1), "blobs/two": await surface(2) };
  await place(root, files);
  const sample = (name: keyof typeof files, label: string, reason: string) => ({
    ...{ file: join(root, name), sha256: digest(files[name]), label, reason, drawProbability: 0.05 },
  });
  const samples = [sample("blobs/one", "good", "random"), sample("blobs/two", "bad", "undecided")];
  const job = { run: "r1", parentModel: "m", words: { good: ["a"], bad: ["b"] }, samples, budgetSeconds: 5, seed: 1 };
  await place(root, { "job.json": JSON.stringify(job) });
  const { pictures } = await openPictureSet(root);
  assert.deepEqual(
    pictures.map(({ key, label, reason, drawProbability }) => [key, label, reason, drawProbability]),
    [
      [samples[0]?.sha256, "good", "random", 0.05],
      [samples[1]?.sha256, "bad", "chosen", 0.05],
    ],
  );
  await writeFile(join(root, "blobs/two"), "altered");
  await assert.rejects(
    openPictureSet(join(root, "job.json")),
    refusal("picture-changed", /two does not hold the bytes that were labelled/),
  );
});

test("a picture that was changed after it was counted is not read as the one that was", async () => {
  const root = await place(await freshFolder(), { "good/a.png": await surface(1), "bad/b.png": await surface(2) });
  const { pictures } = await openPictureSet(root);
  const read = (key: string) => pictures.find((picture) => picture.key === key)?.bytes() as Promise<Uint8Array>;
  await writeFile(join(root, "good/a.png"), await surface(3));
  await truncate(join(root, "bad/b.png"), 10);
  await assert.rejects(read("good/a.png"), refusal("picture-changed", /good\/a\.png/));
  await assert.rejects(read("bad/b.png"), refusal("picture-changed", /bad\/b\.png/));
});

test("what is no set is refused by what it is and what was expected", async () => {
  const root = await place(await freshFolder(), {
    "two/bottle/train/good/a.png": await surface(1),
    "two/cable/good/a.png": await surface(2),
    "papers/letter.txt": "dear",
    "hollow/good/.keep": "",
    "tables/a.csv": "path\n",
    "tables/b.csv": "path\n",
    "note.md": "x",
  });
  await assert.rejects(openPictureSet(join(root, "nowhere")), refusal("set-missing", /nowhere cannot be opened \(ENOENT\)/));
  await assert.rejects(openPictureSet(await freshFolder()), refusal("set-empty", /is an empty folder; expected train\/ and test\//));
  await assert.rejects(openPictureSet(join(root, "two")), refusal("set-unknown", /several sets \(bottle, cable\); open one/));
  await assert.rejects(openPictureSet(join(root, "papers")), refusal("set-unknown", /no set of pictures.*it holds letter\.txt/));
  await assert.rejects(openPictureSet(join(root, "hollow")), refusal("set-empty", /holds no picture/));
  await assert.rejects(openPictureSet(join(root, "tables")), refusal("set-unknown", /several tables \(a\.csv, b\.csv\)/));
  await assert.rejects(
    openPictureSet(join(root, "two/cable"), { by: "lot" }),
    refusal("set-without-columns", /no table and has no column lot/),
  );
  await assert.rejects(openPictureSet(join(root, "note.md")), refusal("set-unknown", /note\.md is no set/));
});

test("links, files of more than 64 MB and folders without end are refused by name", async () => {
  const linked = await place(await freshFolder(), { "good/a.png": await surface(1), "bad/b.png": await surface(2) });
  await rename(join(linked, "bad/b.png"), join(linked, "elsewhere.png"));
  await symlink(join(linked, "elsewhere.png"), join(linked, "bad/b.png"));
  await assert.rejects(openPictureSet(linked), refusal("set-has-link", /bad\/b\.png is a symbolic link/));
  const large = await place(await freshFolder(), { "good/a.png": "", "bad/b.png": await surface(2) });
  await truncate(join(large, "good/a.png"), 65 * 1024 ** 2); // sparse: it has the size, not the bytes
  await assert.rejects(openPictureSet(large), refusal("picture-too-large", /good\/a\.png has 65 MB, at most 64 MB/));
  const deep = await place(await freshFolder(), { "good/1/2/3/4/5/6/7/8/9/a.png": await surface(1) });
  await assert.rejects(openPictureSet(deep), refusal("set-too-deep", /more than 8 folders deep/));
});

test("a table with a fault names the row or the column", async () => {
  const root = await place(await freshFolder(), { "sub/a.png": await surface(1), "secret.png": await surface(2) });
  await symlink(join(root, "secret.png"), join(root, "sub/link.png"));
  const table = async (text: string | Uint8Array) => openPictureSet(join(await place(root, { "sub/t.csv": text }), "sub/t.csv"));
  await assert.rejects(table("name,label\na.png,good\n"), refusal("table-columns", /no column path.*its columns are name, label/));
  await assert.rejects(table("path\na.png\nb.png\n"), refusal("picture-missing", /t\.csv, row 3 names b\.png, which is not there/));
  await assert.rejects(table("path,label\na.png,fine\n"), refusal("invalid-input", /row 2 at label: expected good, bad or nothing/));
  await assert.rejects(table("path,probability\na.png,2\n"), refusal("invalid-input", /row 2 at probability/));
  await assert.rejects(table("path\n../secret.png\n"), refusal("set-path-outside", /leads out of the table's folder/));
  await assert.rejects(table("path\nlink.png\n"), refusal("set-path-outside", /link\.png/));
  await assert.rejects(table("path\nhttps://example.com/a.png\n"), refusal("set-path-remote", /names an address/));
  await assert.rejects(table("path,label\na.png,good\na.png,bad\n"), refusal("set-contradicts", /row 3 labels a\.png otherwise/));
  await assert.rejects(table('path,caption\na.png,"never closed\n'), refusal("table-malformed", /cannot be read as a table/));
  await assert.rejects(table(`path,caption\na.png,${"x".repeat(100_000)}\n`), refusal("table-malformed", /cannot be read as a table/));
  await assert.rejects(table("path,label\na.png\n"), refusal("table-malformed", /cannot be read as a table/));
  await assert.rejects(table(Buffer.from("path\n\x83\x4c\x83\x59.png\n", "latin1")), refusal("table-malformed", /no UTF-8 text/));
  await table("path\na.png\n");
  await assert.rejects(openPictureSet(join(root, "sub/t.csv"), { by: "lot" }), refusal("table-columns", /no column lot/));
});

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
