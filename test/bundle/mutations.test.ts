/** Bundles damaged on their way: each is refused with one line, or the damage lay where a tar says nothing. Seeded. */
import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { KenpinError } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import { type RawEntry, rawTar, readTar } from "./raw-tar.ts";
import { createSite, FILES, openYard } from "./small-bundle.ts";

const COUNT = Number(process.env["KENPIN_MUTATIONS"] ?? 600);
const random = createRandom(23);
/** Long enough that a tar is read in several pieces. */
const LONG = new Map([...FILES, ["weights.bin", Uint8Array.from({ length: 200_000 }, () => random.int(256))]]);

type Damage = { name: string; of: (tar: Buffer) => Buffer };
/** Within an entry's data everything is signed or hashed. */
const IN_DATA: Damage[] = [
  { name: "a flipped bit", of: (tar) => changed(tar, dataByte(tar), (byte) => byte ^ (1 << random.int(8))) },
  { name: "a byte that changed", of: (tar) => changed(tar, dataByte(tar), (byte) => byte + 1 + random.int(255)) },
  { name: "a row of zeros", of: (tar) => zeroed(tar, dataByte(tar)) },
  { name: "an end too early", of: (tar) => tar.subarray(0, random.int(tar.length - 1024 - 512)) },
  { name: "a byte too many", of: (tar) => spliced(tar, dataByte(tar), 0, Buffer.of(random.int(256))) },
  { name: "bytes too few", of: (tar) => spliced(tar, dataByte(tar), 1 + random.int(64)) },
  { name: "a block too few", of: (tar) => spliced(tar, 512 * random.int(tar.length / 512 - 3), 512) },
  { name: "a block twice", of: repeatedBlock },
  { name: "two files' bytes exchanged", of: exchanged },
  { name: "a file renamed", of: renamed },
];
const IN_HEADER: Damage = {
  name: "a header that changed",
  of: (tar) => changed(tar, headerByte(tar), (byte) => byte ^ (1 << random.int(8))),
};

test(`${COUNT} damaged bundles are all refused, and none leaves a file behind`, { timeout: 120_000 }, async () => {
  const yard = await openYard(await createSite());
  const tars = [await yard.pack(), await yard.pack({}, { files: LONG })];
  const refusals = new Map<string, number>();
  for (let i = 0; i < COUNT; i++) {
    const damage = IN_DATA[i % IN_DATA.length] as Damage;
    const tar = tars[random.int(2)] as Buffer;
    const bytes = damage.of(tar);
    assert.ok(!bytes.equals(tar), `${damage.name} changed nothing`);
    await assert.rejects(yard.unpack(bytes), (error) => {
      assert.ok(error instanceof KenpinError && !error.message.includes("\n"), `${damage.name}: ${(error as Error).stack}`);
      refusals.set(error.code, (refusals.get(error.code) ?? 0) + 1);
      return true;
    });
    assert.deepEqual(await yard.found(), [], damage.name);
  }
  for (const code of ["signature-invalid", "bundle-digest-mismatch", "bundle-broken"]) {
    assert.ok((refusals.get(code) ?? 0) > COUNT / 20, `${code}: ${refusals.get(code)}`);
  }
  await yard.close();
});

test("200 bundles with a damaged header are refused, or unpack to the very files that were signed", { timeout: 60_000 }, async () => {
  const yard = await openYard(await createSite());
  const tar = await yard.pack();
  let refused = 0;
  for (let i = 0; i < 200; i++) {
    try {
      await yard.unpack(IN_HEADER.of(tar));
    } catch (error) {
      assert.ok(error instanceof KenpinError && !error.message.includes("\n"));
      assert.deepEqual(await yard.found(), []);
      refused++;
      continue;
    }
    const expected = new Map(readTar(tar).map(({ name, data }) => [name, new Uint8Array(data)]));
    for (const [name, data] of expected) assert.deepEqual(new Uint8Array(await readFile(join(yard.outDir, name))), data);
    assert.equal((await yard.found()).length, expected.size + 2); // and the two folders
    await rm(yard.outDir, { recursive: true });
  }
  assert.ok(refused > 190, `${refused}`);
  await yard.close();
});

/**
 * Some byte of some entry's data; every entry is as likely. Not a signature's last character: 64 bytes are 85⅓ of base64's,
 * so four bits of the 86th say nothing.
 */
function dataByte(tar: Buffer): number {
  const { name, dataAt, data } = random.pick(readTar(tar));
  return dataAt + random.int(data.length - Number(name.endsWith(".jws")));
}

function headerByte(tar: Buffer): number {
  return random.pick(readTar(tar)).headerAt + random.int(512);
}

function changed(tar: Buffer, at: number, change: (byte: number) => number): Buffer {
  const out = Buffer.from(tar);
  out[at] = change(out[at] as number) & 255;
  return out;
}

function zeroed(tar: Buffer, at: number): Buffer {
  const out = Buffer.from(tar);
  for (let i = at; out.equals(tar); i++) out.fill(0, at, i + 1 + random.int(32));
  return out;
}

function spliced(tar: Buffer, at: number, remove: number, insert: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([tar.subarray(0, at), insert, tar.subarray(at + remove)]);
}

function repeatedBlock(tar: Buffer): Buffer {
  const at = 512 * random.int(tar.length / 512 - 3);
  return Buffer.concat([tar.subarray(0, at + 512), tar.subarray(at)]);
}

function exchanged(tar: Buffer): Buffer {
  const entries = readTar(tar);
  const [first, second] = random.shuffle(entries.map((_, i) => i)) as [number, number];
  const [a, b] = [entries[first] as RawEntry, entries[second] as RawEntry];
  return rawTar(entries.map(({ name, data }, i) => ({ name, data: i === first ? b.data : i === second ? a.data : data })));
}

function renamed(tar: Buffer): Buffer {
  const entries = readTar(tar);
  const chosen = random.int(entries.length);
  const rename = (name: string) => `${name.slice(0, -1)}${name.endsWith("x") ? "y" : "x"}`;
  return rawTar(entries.map(({ name, data }, i) => ({ name: i === chosen ? rename(name) : name, data })));
}
