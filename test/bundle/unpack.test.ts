/**
 * A bundle from the hub, from a stranger, from last year, or from somebody who knows how tars are made: only the first is
 * unpacked, and whatever is refused leaves no file behind.
 */
import assert from "node:assert/strict";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { createKey, publicKey, sha256 } from "@kenpin/bundle";
import { sign } from "../../packages/bundle/src/keys.ts";
import { type RawEntry, rawTar, readTar } from "./raw-tar.ts";
import { createSite, FILES, openYard, type Site } from "./small-bundle.ts";

let site: Site;
let yard: Awaited<ReturnType<typeof openYard>>;
let good: Buffer;
before(async () => {
  site = await createSite();
  yard = await openYard(site);
  good = await yard.pack();
});
afterEach(() => rm(yard.outDir, { recursive: true, force: true }));
after(() => yard.close());

const plain = (tar = good): RawEntry[] => readTar(tar).map(({ name, data }) => ({ name, data }));
const file = (name: string, text = "x"): RawEntry => ({ name, data: Buffer.from(text) });

/** Refused with this code, in one line, and nothing lies there that did not before. */
async function refused(data: Uint8Array, code: string, changes: Parameters<typeof yard.unpack>[1] = {}): Promise<void> {
  const foundBefore = await yard.found();
  await assert.rejects(yard.unpack(data, changes), (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, /^[^\n]+$/);
    return true;
  });
  assert.deepEqual(await yard.found(), foundBefore);
}

test("what was packed comes out, byte for byte, and its digest is the manifest's", async () => {
  const { manifest, digest } = await yard.unpack(good);
  for (const [name, data] of FILES) assert.deepEqual(new Uint8Array(await readFile(join(yard.outDir, name))), data);
  assert.equal(digest, sha256(await readFile(join(yard.outDir, "manifest.json"))));
  assert.equal(manifest.release, 5);
  const files = [...FILES.keys(), "golden", "keys.jws", "manifest.jws", "manifest.json"].map((name) => join("bundle", name));
  assert.deepEqual(await yard.found(), ["bundle", ...files].sort());
});

test("the same input gives the same bytes", async () => {
  assert.deepEqual(await yard.pack(), good);
});

test("a bundle of another hub, or whose signing key has run out, is refused by its signature", async () => {
  const stranger = await createSite();
  await refused(good, "signature-invalid", { rootKey: stranger.rootKey });
  await refused(await yard.pack({}, { keysJws: stranger.keysJws, signingKey: stranger.signing }), "signature-invalid");
  await refused(await yard.pack({}, { signingKey: stranger.signing }), "signature-invalid"); // the right name, another key
  await refused(await yard.pack({}, { signingKey: await createKey("signing-2") }), "signature-invalid");
  const runOut = await site.keyList(publicKey(site.signing), "2029-12-31T23:59:59Z");
  await refused(await yard.pack({}, { keysJws: runOut }), "signature-invalid");
});

test("a manifest that was touched, or that another signature stands beside, is refused", async () => {
  const entries = plain();
  const swap = (name: string, data: Uint8Array) => rawTar(entries.map((entry) => (entry.name === name ? { name, data } : entry)));
  const manifest = Buffer.from(entries[2]?.data as Uint8Array).toString("utf8");
  await refused(swap("manifest.json", Buffer.from(manifest.replace('"release": 5', '"release": 6'))), "signature-invalid");
  const other = plain(await yard.pack({ release: 6 }));
  await refused(swap("manifest.jws", other[1]?.data as Uint8Array), "signature-invalid");
  await refused(swap("manifest.jws", Buffer.from("no signature")), "signature-invalid");
  await refused(swap("keys.jws", Buffer.from("..")), "signature-invalid");
});

test("a manifest that says another key signed it is refused, though the signature holds", async () => {
  const entries = plain();
  const text = Buffer.from(entries[2]?.data as Uint8Array)
    .toString("utf8")
    .replace('"keyId": "signing-1"', '"keyId": "signing-9"');
  const [header, , signature] = (await sign(site.signing, Buffer.from(text))).split(".");
  const tar = [entries[0] as RawEntry, file("manifest.jws", `${header}..${signature}`), file("manifest.json", text), ...entries.slice(3)];
  await refused(rawTar(tar), "signature-invalid");
});

test("a signed manifest that is no manifest is refused by the name of what is wrong with it", async () => {
  const entries = plain();
  const signedAs = async (text: string) => {
    const [header, , signature] = (await sign(site.signing, Buffer.from(text))).split(".");
    return rawTar([entries[0] as RawEntry, file("manifest.jws", `${header}..${signature}`), file("manifest.json", text)]);
  };
  await refused(await signedAs("{}"), "invalid-input");
  await refused(await signedAs("no JSON"), "invalid-input");
  const text = Buffer.from(entries[2]?.data as Uint8Array).toString("utf8");
  for (const name of ["../up", "/etc/x", "a/b/c", "golden/../../up", ".hidden", "a\\\\b", ""]) {
    await refused(await signedAs(text.replace('"prompts.json"', `"${name}"`)), "invalid-input");
  }
});

test("an expired, a downgraded, and a too new bundle are refused; the very release that runs is taken again", async () => {
  await refused(good, "bundle-expired", { now: new Date("2030-12-01T00:00:00Z") });
  await refused(good, "bundle-downgrade", { newestRelease: 6 });
  await refused(good, "agent-too-old", { agentVersion: "1.9.9" });
  await yard.unpack(good, { newestRelease: 5, agentVersion: "2.0.0", now: new Date("2030-11-30T23:59:59Z") });
});

test("a file that is not the one that was signed, shorter, longer, swapped or missing, is refused", async () => {
  const entries = plain();
  const change = (name: string, data: Uint8Array | null) =>
    rawTar(entries.flatMap((entry) => (entry.name !== name ? [entry] : data ? [{ name, data }] : [])));
  const vision = FILES.get("vision.onnx") as Uint8Array;
  const altered = vision.slice();
  altered[1500] = (altered[1500] as number) ^ 1;
  await refused(change("vision.onnx", altered), "bundle-digest-mismatch");
  await refused(change("vision.onnx", vision.subarray(1)), "bundle-digest-mismatch");
  await refused(change("vision.onnx", Buffer.concat([vision, Buffer.of(0)])), "bundle-digest-mismatch");
  await refused(change("prompts.json", FILES.get("golden/1.png") as Uint8Array), "bundle-digest-mismatch");
  await refused(change("vision.onnx", null), "bundle-broken");
});

test("a tar that would write outside its folder, or anything but the signed files, is refused", async () => {
  const entries = plain();
  const [keys, jws, manifest, ...rest] = entries as [RawEntry, RawEntry, RawEntry, ...RawEntry[]];
  const head = [keys, jws, manifest];
  for (const name of ["../escaped", "../../escaped", "golden/../../escaped", "/tmp/kenpin-escaped", "./prompts.json", "golden\\..\\x"]) {
    await refused(rawTar([...head, file(name), ...rest]), "bundle-broken");
    await refused(rawTar([file(name), ...entries]), "bundle-broken");
  }
  await refused(rawTar([...entries, file("extra.txt")]), "bundle-broken");
  await refused(rawTar([...entries, rest[0] as RawEntry]), "bundle-broken"); // twice
  await refused(rawTar([...entries, manifest]), "bundle-broken");
  await refused(rawTar([...head, ...head, ...rest]), "bundle-broken");
  await refused(rawTar([...head, { name: "golden", data: Buffer.alloc(0), type: "5" }, ...rest]), "bundle-broken");
});

test("links and devices are refused, also under a signed file's own name", async () => {
  const [keys, jws, manifest, ...rest] = plain() as [RawEntry, RawEntry, RawEntry, ...RawEntry[]];
  for (const type of ["1", "2", "3"] as const) {
    const link: RawEntry = { name: "prompts.json", data: Buffer.alloc(0), type, link: "/etc/hostname" };
    const others = rest.filter(({ name }) => name !== link.name);
    await refused(rawTar([keys, jws, manifest, link, ...others]), "bundle-broken");
    await refused(rawTar([{ ...link, name: "keys.jws" }, jws, manifest, ...rest]), "bundle-broken");
  }
});

test("the head comes first and in its order, whatever else is right", async () => {
  const [keys, jws, manifest, ...rest] = plain() as [RawEntry, RawEntry, RawEntry, ...RawEntry[]];
  await refused(rawTar([...rest, keys, jws, manifest]), "bundle-broken");
  await refused(rawTar([jws, keys, manifest, ...rest]), "bundle-broken");
  await refused(rawTar([keys, jws, ...rest, manifest]), "bundle-broken");
  await refused(rawTar([keys, jws]), "bundle-broken");
  await refused(rawTar([]), "bundle-broken");
  await refused(Buffer.alloc(0), "bundle-broken");
});

test("a head that grows, a size that lies, and a tar past the limit are refused before anything is written", async () => {
  const [keys, jws, manifest, ...rest] = plain() as [RawEntry, RawEntry, RawEntry, ...RawEntry[]];
  const large = Buffer.alloc(1024 * 1024 + 1, 32);
  await refused(rawTar([{ name: "keys.jws", data: large }, jws, manifest, ...rest]), "bundle-too-large");
  await refused(rawTar([keys, jws, { name: "manifest.json", data: large }, ...rest]), "bundle-too-large");
  await refused(rawTar([{ ...keys, size: 2 ** 32 }, jws, manifest, ...rest]), "bundle-too-large");
  await refused(good, "bundle-too-large", { limits: { tarBytes: good.length - 1 } });
  await yard.unpack(good, { limits: { tarBytes: good.length } });
});

test("a refused bundle leaves the one that was unpacked before as it is", async () => {
  await yard.unpack(good);
  const before = await yard.found();
  await refused(good.subarray(0, good.length - 3000), "bundle-broken");
  assert.deepEqual(await yard.found(), before);
  assert.deepEqual(new Uint8Array(await readFile(join(yard.outDir, "vision.onnx"))), FILES.get("vision.onnx"));
});

test("what an unpacking cut off by a power loss left there is in nobody's way", async () => {
  await mkdir(`${yard.outDir}.unproven/golden`, { recursive: true });
  await writeFile(`${yard.outDir}.unproven/vision.onnx`, "half");
  await writeFile(`${yard.outDir}.unproven/stranger`, "x");
  await yard.unpack(good);
  assert.deepEqual(
    (await yard.found()).filter((name) => name.includes("stranger") || name.includes("unproven")),
    [],
  );
});
