/** Shards written and read again, by kenpin and by Python; and what is refused of shards that came from elsewhere. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { KenpinError } from "@kenpin/schema";
import sharp from "sharp";
import { openPictureSet, type PictureSet } from "../../../cloud-trainer/src/samples/picture-set.ts";
import { writeShards } from "../../../cloud-trainer/src/samples/sets/write-shards.ts";
import { freshFolder, place, surface } from "./made-set.ts";

/** A name, and a body: a file, or by POSIX's letters a link (2), a folder (5), a pax header (x) or GNU's long name (L). */
type Entry = { name: string; type?: "0" | "2" | "5" | "x" | "L" };
const LIMITS = { pictures: 3, bytes: 1024 ** 3 };
const PYTHON = process.env["KENPIN_PYTHON"];

async function madeSet(): Promise<PictureSet> {
  const root = await place(await freshFolder(), {
    "set.csv":
      "path,caption,label,defect,group,split,mask,probability,reason\n" +
      "写真 1.jpg,a weave,good,,ロット 1,train,,0.1,random\nb.png,a torn weave,bad,tear,2,test,b_mask.png,0.02,chosen\n" +
      "b.png,another view,bad,tear,2,test,b_mask.png,0.02,chosen\nc.webp,,,,,,,,\nd.d.png,dots. in names,good,,,,,,\n",
    "写真 1.jpg": await surface(1, { format: "jpeg" }),
    "b.png": await surface(2),
    "b_mask.png": await surface(3),
    "c.webp": await surface(4, { format: "webp" }),
    "d.d.png": await surface(5),
  });
  return openPictureSet(root);
}

const known = ({ pictures }: PictureSet) =>
  pictures.map(({ bytes: _, mask, ...rest }) => ({ ...rest, mask: mask !== null })).sort((a, b) => (a.key < b.key ? -1 : 1));

const refusal = (code: string, says: RegExp) => (error: unknown) => {
  assert.ok(error instanceof KenpinError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, says);
  return true;
};

test("a set packed as shards and opened again is the same set", async () => {
  const set = await madeSet();
  const out = join(await freshFolder(), "shards");
  const index = await writeShards(set, out, { limits: LIMITS });
  assert.deepEqual(
    index.shards.map(({ pictures }) => pictures),
    [3, 1],
  );
  const again = await openPictureSet(out);
  assert.deepEqual(known(again), known(set));
  assert.equal(again.digest, set.digest);
  const masked = (one: PictureSet) => one.pictures.find(({ mask }) => mask)?.mask?.();
  assert.deepEqual(await masked(again), await masked(set));
  for (const { bytes } of again.pictures) assert.ok((await bytes()).length > 0);
});

test("the same pictures give the same shards to the byte, in whatever order they were listed", async () => {
  const set = await madeSet();
  const folder = await freshFolder();
  await writeShards(set, join(folder, "a"), { limits: LIMITS });
  await writeShards({ ...set, pictures: set.pictures.toReversed() }, join(folder, "b"), { limits: LIMITS });
  const names = await readdir(join(folder, "a"));
  assert.deepEqual(names.sort(), ["index.json", `${set.name}-000000.tar`, `${set.name}-000001.tar`]);
  for (const name of names) assert.deepEqual(await readFile(join(folder, "a", name)), await readFile(join(folder, "b", name)), name);
});

test("shards are filled by bytes too", async () => {
  const set = await madeSet();
  const index = await writeShards(set, join(await freshFolder(), "s"), { limits: { pictures: 100, bytes: 1 } });
  assert.equal(index.shards.length, set.pictures.length);
});

test("a TIFF becomes a PNG with the same pixels, since open_clip's trainer takes no TIFF", async () => {
  const tiff = await surface(1, { format: "tiff" });
  const root = await place(await freshFolder(), { "good/a.tif": tiff, "bad/b.tif": await surface(2, { format: "tiff" }) });
  const out = join(await freshFolder(), "s");
  await writeShards(await openPictureSet(root), out, { limits: LIMITS });
  const again = (await openPictureSet(out)).pictures.find(({ label }) => label === "good");
  const png = (await again?.bytes()) as Uint8Array;
  assert.equal((await sharp(png).metadata()).format, "png");
  assert.deepEqual(await sharp(png).raw().toBuffer(), await sharp(tiff).raw().toBuffer());
});

test("a folder that holds something, and a picture that is none, stop the packing and leave nothing half done", async () => {
  const root = await place(await freshFolder(), { "good/a.png": await surface(1), "bad/b.png": "no picture" });
  const set = await openPictureSet(root);
  await assert.rejects(writeShards(set, join(root, "good"), { limits: LIMITS }), refusal("folder-not-empty", /already holds \d+ files/));
  const folder = await freshFolder();
  await assert.rejects(writeShards(set, join(folder, "s"), { limits: LIMITS }), refusal("image-unreadable", /bad\/b\.png/));
  assert.deepEqual(await readdir(folder), []);
});

test("shards that were lost, cut short or exchanged are noticed when the set is opened", async () => {
  const shardsOf = async () => {
    const out = join(await freshFolder(), "s");
    const { shards } = await writeShards(await madeSet(), out, { limits: LIMITS });
    return { out, first: join(out, shards[0]?.file as string), second: join(out, shards[1]?.file as string) };
  };
  const lost = await shardsOf();
  await rm(lost.second);
  await assert.rejects(
    openPictureSet(lost.out),
    refusal("shard-broken", /000001\.tar cannot be used: index\.json says \d+ bytes, there are none/),
  );
  const cut = await shardsOf();
  await truncate(cut.first, 3000);
  await assert.rejects(openPictureSet(cut.out), refusal("shard-broken", /says \d+ bytes, there are 3000/));
  await rm(join(cut.out, "index.json"));
  await assert.rejects(openPictureSet(cut.out), refusal("shard-broken", /was cut short inside 00000000\.\w+, which should have \d+ bytes/));
  const strange = await shardsOf();
  await rename(strange.second, join(strange.out, "x.tar"));
  await assert.rejects(openPictureSet(strange.out), refusal("shard-broken", /there are none/));
  const altered = await shardsOf();
  const bytes = await readFile(altered.first);
  bytes[600] = (bytes[600] as number) ^ 1; // inside the first picture
  await writeFile(altered.first, bytes);
  await assert.rejects(openPictureSet(altered.out), refusal("shard-broken", /is not the picture that its JSON names/));
});

test("a tar without its end mark, or that is none, is refused", async () => {
  const folder = await freshFolder();
  const file = await tarOf(join(folder, "a.tar"), [[{ name: "a.png" }, await surface(1)]]);
  const whole = await readFile(file);
  await writeFile(file, whole.subarray(0, whole.length - 1024));
  await assert.rejects(openPictureSet(file), refusal("shard-broken", /ends without the mark of an end/));
  await writeFile(file, "x".repeat(4096));
  await assert.rejects(openPictureSet(file), refusal("shard-broken", /checksum is wrong; is it a plain, uncompressed tar/));
});

test("an entry that claims 10 GB is refused by name before a byte of it is read", async () => {
  const file = join(await freshFolder(), "a.tar");
  await writeFile(file, tarHeader({ name: "huge.png" }, 10 * 1024 ** 3));
  await assert.rejects(openPictureSet(file), refusal("shard-broken", /cut short inside huge\.png, which should have 10737418240 bytes/));
  await truncate(file, 10 * 1024 ** 3 + 4096); // sparse: now the entry is as long as it says
  await assert.rejects(openPictureSet(file), refusal("picture-too-large", /huge\.png has 10240 MB, at most 64 MB/));
});

test("other people's shards are read: long and Japanese names, folders, JSON of another kind, files that are no pictures", async () => {
  const file = join(await freshFolder(), "web.tar");
  const long = `${"深い".repeat(40)}/写真`;
  const pax = (body: string) => `${Buffer.byteLength(body) + 5} ${body}\n`; // the length counts itself, here in three digits
  await tarOf(file, [
    [{ name: "part/", type: "5" }, ""],
    [{ name: "part/1.jpg" }, await surface(1, { format: "jpeg" })],
    [{ name: "part/1.txt" }, " a bolt \n"],
    [{ name: "part/1.json" }, JSON.stringify({ url: "x", width: 3, sha256: "unrelated" })],
    [{ name: "PaxHeader", type: "x" }, pax(`path=${long}.png`)],
    [{ name: "cut off" }, await surface(2)],
    [{ name: "././@LongLink", type: "L" }, `${"long/".repeat(30)}3.png\0`],
    [{ name: "cut off" }, await surface(3)],
    [{ name: "readme.txt" }, "no picture"],
    [{ name: "out", type: "2" }, ""],
  ]);
  const { pictures, skipped } = await openPictureSet(file);
  assert.deepEqual(
    pictures.map(({ key, captions, label }) => [key, captions, label]),
    [
      ["part/1", ["a bolt"], null],
      [long, [], null],
      [`${"long/".repeat(30)}3`, [], null],
    ],
  );
  assert.deepEqual(skipped, ["web.tar: readme.txt"]);
});

test("two pictures of one key are refused", async () => {
  const file = join(await freshFolder(), "a.tar");
  const picture = await surface(1);
  await tarOf(file, [
    [{ name: "a.png" }, picture],
    [{ name: "b.png" }, picture],
    [{ name: "a.png" }, picture],
  ]);
  await assert.rejects(openPictureSet(file), refusal("shard-broken", /the key a comes twice/));
});

const READ_IN_PYTHON = `
import hashlib, json, os, sys, tarfile
samples = {}
for name in sorted(n for n in os.listdir(sys.argv[1]) if n.endswith(".tar")):
    with tarfile.open(os.path.join(sys.argv[1], name)) as tar:
        last = None
        for member in tar:
            key, ending = member.name.split(".", 1)
            assert member.isfile() and (key == last or key not in samples), member.name
            samples.setdefault(key, {})[ending] = tar.extractfile(member).read()
            last = key
rows = []
for files in samples.values():
    image = next(files[e] for e in ("jpg", "png", "webp") if e in files)
    known = json.loads(files["json"])
    assert hashlib.sha256(image).hexdigest() == known["sha256"]
    rows.append([known["key"], files.get("txt", b"").decode(), "mask.png" in files])
print(json.dumps(sorted(rows)))
`;

test("Python reads the shards by webdataset's naming rule", { skip: PYTHON ? false : "KENPIN_PYTHON names no Python" }, async () => {
  const out = join(await freshFolder(), "s");
  await writeShards(await madeSet(), out, { limits: LIMITS });
  const { stdout, stderr } = spawnSync(PYTHON as string, ["-c", READ_IN_PYTHON, out], { encoding: "utf8" });
  assert.equal(stderr, "");
  assert.deepEqual(JSON.parse(stdout), [
    ["b.png", "a torn weave", true],
    ["c.webp", "", false],
    ["d.d.png", "dots. in names", false],
    ["写真 1.jpg", "a weave", false],
  ]);
});

async function tarOf(file: string, entries: [Entry, Uint8Array | string][]): Promise<string> {
  const blocks = entries.flatMap(([entry, body]) => {
    const bytes = Buffer.from(body);
    return [tarHeader(entry, bytes.length), bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  await writeFile(file, Buffer.concat([...blocks, Buffer.alloc(1024)]));
  return file;
}

/** POSIX ustar, IEEE 1003.1-2017 pax; sizes in GNU's binary form, as writers use it for files of 8 GB and more. */
function tarHeader({ name, type = "0" }: Entry, size: number): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0, 100);
  block.write("0000644\0", 100);
  block[124] = 0x80;
  block.writeBigUInt64BE(BigInt(size), 128);
  block.write(type, 156);
  block.write("ustar\x0000", 257);
  block.fill(" ", 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}
