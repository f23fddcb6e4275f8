/** Checkpoints of both kinds: what PyTorch and safetensors wrote is read to the bit, and nothing in a file is ever run. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  type ByteSource,
  bytesSource,
  type Checkpoint,
  encodeSafetensors,
  fitCheckpoint,
  type ModelConfig,
  openPytorch,
  openSafetensors,
  openSafetensorsIndex,
  parseModelConfig,
  readAllTensors,
  safetensorsStream,
  shardTensors,
  tensorShapes,
  type WrittenFormat,
} from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { openStoredZip } from "../../packages/clip/src/zip-archive.ts";
import { seededTensors } from "../onnx/seeded-weights.ts";
import { storedZip } from "./stored-zip.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures/clip");
const fixture = (name: string) => bytesSource(new Uint8Array(readFileSync(join(FIXTURES, name))));
const towers = JSON.parse(readFileSync(join(FIXTURES, "towers.json"), "utf8")) as { config: ModelConfig }[];
const small = (name: string) => parseModelConfig(towers.find(({ config }) => config.name === name)?.config, name);

test("every number of a PyTorch checkpoint is read as PyTorch reads it: formats, views, scalars, parameters", async () => {
  const expected = JSON.parse(readFileSync(join(FIXTURES, "tensors.json"), "utf8")) as Record<
    string,
    { shape: number[]; values: string[] }
  >;
  const checkpoint = await openPytorch(fixture("tensors.pt"));
  assert.deepEqual(checkpoint.names.sort(), Object.keys(expected).sort());
  for (const [name, { shape, values }] of Object.entries(expected)) {
    assert.deepEqual(checkpoint.shape(name), shape, name);
    if (name === "count") continue;
    const numbers = values.map((value) => Math.fround(Number(value.replace("inf", "Infinity"))));
    assert.deepEqual([...(await checkpoint.tensor(name))], numbers, name);
  }
  await assert.rejects(checkpoint.tensor("count"), hasCode("tensor-not-float"));
});

test("a checkpoint whose sizes need 64 bits reads alike", async () => {
  const plain = await openPytorch(fixture("tensors.pt"));
  const entries = await openStoredZip(fixture("tensors.pt"));
  const files = new Map<string, Uint8Array>();
  for (const [name, entry] of entries) files.set(name, await entry.read());
  const wide = await openPytorch(bytesSource(storedZip(files, { zip64: true })));
  assert.deepEqual(wide.names, plain.names);
  assert.deepEqual(await wide.tensor("turned"), await plain.tensor("turned"));
});

test("a view that repeats its numbers cannot claim more memory than the file holds", async () => {
  const entries = await openStoredZip(fixture("tensors.pt"));
  const files = new Map<string, Uint8Array>();
  for (const [name, entry] of entries) files.set(name, await entry.read());
  const table = [...files.keys()].find((name) => name.endsWith("data.pkl")) as string;
  const pickle = new Uint8Array(files.get(table) as Uint8Array);
  // (4, 6) with strides (6, 1) becomes (255, 255) with strides (0, 0): K 4 K 6 \x86 ... K 6 K 1 \x86
  const at = findBytes(pickle, [0x4b, 4, 0x4b, 6, 0x86]);
  pickle.set([255, 0x4b, 255], at + 1);
  const strides = findBytes(pickle, [0x4b, 6, 0x4b, 1, 0x86], at);
  pickle.set([0, 0x4b, 0], strides + 1);
  const checkpoint = await openPytorch(bytesSource(storedZip(new Map([...files, [table, pickle]]))));
  await assert.rejects(checkpoint.tensor(checkpoint.names[0] as string), /claims 65025 numbers of a storage of 24/);
});

test("a state dict inside a trainer's own dict is found", async () => {
  assert.deepEqual((await openPytorch(fixture("wrapped.pt"))).names, ["module.a"]);
});

test("a checkpoint that would run a command is refused by that command's name", async () => {
  await assert.rejects(
    openPytorch(fixture("unsafe.pt")),
    (error) => error instanceof KenpinError && error.code === "checkpoint-unsafe" && /posix\.system/.test(error.message),
  );
});

test("a checkpoint of PyTorch before its zip format is refused with one clear line", async () => {
  await assert.rejects(openPytorch(fixture("legacy.pt")), hasCode("checkpoint-broken"));
});

for (const format of ["F32", "F16", "BF16"] satisfies WrittenFormat[]) {
  test(`a model written as ${format} and read again has the numbers that this format can hold`, async () => {
    const values = Float32Array.of(0, -0, 1, -1.5, 65_504, 1e-7, 6.1e-5, 3.0e-8, 0.1, 1 / 3, 1e30, Number.POSITIVE_INFINITY);
    const pieces: Uint8Array[] = [];
    for await (const piece of safetensorsStream({ shapes: new Map([["a", [3, 4]]]), read: async () => values, format })) pieces.push(piece);
    const read = await (await openSafetensors(bytesSource(new Uint8Array(Buffer.concat(pieces))))).tensor("a");
    const tolerance = { F32: 0, F16: 2 ** -11, BF16: 2 ** -8 }[format];
    for (const [i, value] of values.entries()) {
      const got = read[i] as number;
      if (format === "F16" && value > 65_504) assert.equal(got, Number.POSITIVE_INFINITY);
      else
        assert.ok(
          Object.is(got, value) || Math.abs(got - value) <= Math.max(tolerance * Math.abs(value), format === "F16" ? 2 ** -25 : 0),
          `${value} became ${got}`,
        );
    }
  });
}

test("a model in several files is one checkpoint, and a file that is missing a tensor is named", async () => {
  const tensors = seededTensors(small("EVA02-B-16"));
  const shapes = new Map([...tensors].map(([name, { shape }]) => [name, shape]));
  const { index, files } = shardTensors(shapes, 300_000);
  assert.ok(files.size > 3);
  const written = new Map<string, ByteSource>();
  for (const [file, part] of files) {
    const kept = new Map([...part.keys()].map((name) => [name, tensors.get(name) as { shape: number[]; data: Float32Array }]));
    written.set(file, bytesSource(encodeSafetensors(kept)));
  }
  const checkpoint = await openSafetensorsIndex(index, async (file) => written.get(file) as ByteSource);
  assert.equal(checkpoint.names.length, tensors.size);
  for (const [name, { data }] of tensors) assert.deepEqual(await checkpoint.tensor(name), data);
  const wrong = { ...index, weight_map: { ...index.weight_map, "not.there": [...files.keys()][0] } };
  await assert.rejects(
    openSafetensorsIndex(wrong, async (file) => written.get(file) as ByteSource),
    /not\.there/,
  );
  const outside = { weight_map: { a: "../secret.safetensors" } };
  await assert.rejects(
    openSafetensorsIndex(outside, async () => assert.fail("opened a file outside")),
    hasCode("checkpoint-broken"),
  );
});

test("safetensors with a hole, an overlap, an unknown format or bytes behind its end is refused", async () => {
  const entry = (from: number, to: number, dtype = "F32") => ({ dtype, shape: [(to - from) / 4], data_offsets: [from, to] });
  for (const [header, bytes] of [
    [{ a: entry(4, 8) }, 8],
    [{ a: entry(0, 8), b: entry(4, 8) }, 8],
    [{ a: entry(0, 4, "F8_E9M9") }, 4],
    [{ a: entry(0, 4) }, 12],
    [{ a: entry(0, 8) }, 4],
    [{ a: { ...entry(0, 4), shape: [2 ** 40, 2 ** 40] } }, 4],
    [[1], 4],
  ] as const) {
    await assert.rejects(openSafetensors(bytesSource(handMade(header, bytes))), hasCode("checkpoint-broken"), JSON.stringify(header));
  }
});

for (const { config: raw } of towers) {
  test(`${raw.name}'s tensors are found under open_clip's names and under BAAI's with and without "module."`, async () => {
    const config = parseModelConfig(raw, raw.name);
    const tensors = seededTensors(config);
    for (const rename of [(name: string) => name, baaiName(config), (name: string) => `module.${baaiName(config)(name)}`]) {
      const renamed = new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]));
      renamed.set("visual.rope.freqs_cos", { shape: [1], data: new Float32Array(1) });
      const fitted = fitCheckpoint(await openSafetensors(bytesSource(encodeSafetensors(renamed))), config);
      assert.deepEqual(fitted.changes, []);
      for (const [name, { data }] of tensors) assert.deepEqual(await fitted.tensor(name), data, name);
    }
  });
}

test("a checkpoint with one tensor too few and one too many is refused with both names", async () => {
  const config = small("EVA02-B-16");
  const tensors = seededTensors(config);
  tensors.delete("text.ln_final.bias");
  tensors.set("visual.trunk.extra", { shape: [1], data: new Float32Array(1) });
  const checkpoint = await openSafetensors(bytesSource(encodeSafetensors(tensors)));
  assert.throws(
    () => fitCheckpoint(checkpoint, config),
    (error) =>
      error instanceof KenpinError &&
      error.code === "checkpoint-unfit" &&
      /1 tensors missing \(text\.ln_final\.bias\), 1 unexpected \(visual\.trunk\.extra\)/.test(error.message),
  );
});

test("a checkpoint for another input or patch size is resampled and says so; any other shape is refused", async () => {
  const config = small("EVA02-B-16");
  const checkpoint = await openSafetensors(bytesSource(encodeSafetensors(seededTensors(config))));
  const image = config.image;
  const larger = fitCheckpoint(checkpoint, { ...config, image: { ...image, size: image.size + 2 * image.patch } });
  assert.equal(larger.changes.length, 1);
  assert.equal((await larger.tensor("visual.trunk.pos_embed")).length, (36 + 1) * image.width);
  const finer = fitCheckpoint(checkpoint, { ...config, image: { ...image, patch: 8, size: 32 } });
  assert.deepEqual(finer.changes.length, 1);
  assert.equal((await finer.tensor("visual.trunk.patch_embed.proj.weight")).length, image.width * 3 * 64);
  assert.throws(() => fitCheckpoint(checkpoint, { ...config, embedDim: 49 }), hasCode("checkpoint-unfit"));
});

test("all tensors of a small model come back from memory as they went", async () => {
  const tensors = seededTensors(small("EVA01-g-14"));
  const read = await readAllTensors(bytesSource(encodeSafetensors(tensors, { model: "x" })));
  assert.deepEqual(new Map([...read].sort()), new Map([...tensors].sort()));
});

test("a file is read in ranges, one tensor at a time", async () => {
  const config = small("EVA02-B-16");
  const bytes = encodeSafetensors(seededTensors(config));
  let largest = 0;
  const read = async (offset: number, length: number) => {
    largest = Math.max(largest, length);
    return bytes.slice(offset, offset + length);
  };
  const checkpoint: Checkpoint = await openSafetensors({ size: bytes.length, read });
  for (const name of checkpoint.names) await checkpoint.tensor(name);
  const biggest = Math.max(...[...tensorShapes(config).values()].map((shape) => shape.reduce((size, n) => size * n, 4)));
  assert.equal(largest, biggest);
});

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof KenpinError && error.code === code && !error.message.includes("\n");
}

function findBytes(bytes: Uint8Array, wanted: number[], from = 0): number {
  const at = Buffer.from(bytes).indexOf(Buffer.from(wanted), from);
  assert.ok(at >= 0);
  return at;
}

function handMade(header: unknown, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const out = new Uint8Array(8 + json.length + dataBytes);
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true);
  out.set(json, 8);
  return out;
}

function baaiName({ image }: ModelConfig): (name: string) => string {
  return (name) => {
    if (!name.startsWith("visual.trunk.")) return name;
    const plain = name.replace("visual.trunk.", "visual.");
    if (!image.subNorm) return plain;
    return plain
      .replace(/attn\.([qv])_proj\.bias/, "attn.$1_bias")
      .replace("attn.norm.", "attn.inner_attn_ln.")
      .replace("mlp.fc1_g.", "mlp.w1.")
      .replace("mlp.fc1_x.", "mlp.w2.")
      .replace("mlp.norm.", "mlp.ffn_ln.")
      .replace("mlp.fc2.", "mlp.w3.");
  };
}
