/**
 * The towers in fewer bits beside open_clip's own float answers, for every published model's block style at reduced size:
 * all schemes, and 8-bit graphs with places left in float. What no float graph may lose by it is asserted too.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { bytesSource, type ModelConfig, parseModelConfig } from "@kenpin/clip";
import { openPrepared, type PlacePlan, productProbe, type QuantPlan, type Scheme, textModel, visionModel } from "@kenpin/onnx";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { textFeeds, textPlan, visionFeeds, visionPlan } from "./planned.ts";
import { seededTensors } from "./seeded-weights.ts";

type Golden = { config: ModelConfig; image_embeds: number[]; text_embeds: number[] };

const golden = (JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/clip/towers.json"), "utf8")) as Golden[]).map((entry) => ({
  ...entry,
  config: parseModelConfig(entry.config, entry.config.name),
}));
/** Eight bits at depth 2; half precision keeps ten bits and a half of each number. */
const LEAST: Record<Scheme, number> = { "int8-dynamic": 0.998, "int8-static": 0.998, qdq: 0.998, fp16: 0.99999 };

for (const scheme of Object.keys(LEAST) as Scheme[]) {
  test(`in ${scheme} every published model's kind still answers as open_clip does, whole tower or last row alone`, async () => {
    const flavour = scheme.startsWith("int8") ? "ort" : "portable";
    for (const { config, image_embeds, text_embeds } of golden) {
      const weights = seededTensors(config);
      const plan = await visionPlan(config, scheme);
      for (const options of [{ patchEmbeds: true, layers: [0] }, { patchEmbeds: true }, { patchEmbeds: false }]) {
        const images = await run(visionModel({ config, flavour, plan, ...options }).encode(weights), visionFeeds(config));
        assertNear(images["image_embeds"], image_embeds, config.embedDim, LEAST[scheme], `${config.name} ${JSON.stringify(options)}`);
      }
      const texts = await run(textModel({ config, flavour, plan: await textPlan(config, scheme) }).encode(weights), textFeeds(config));
      assertNear(texts["text_embeds"], text_embeds, config.embedDim, LEAST[scheme], `${config.name} text`);
    }
  });
}

test("without patch outputs the last block computes one row, and the float embedding stays the same", async () => {
  for (const { config, image_embeds } of golden) {
    for (const flavour of ["ort", "portable"] as const) {
      const out = await run(visionModel({ config, flavour, patchEmbeds: false }).encode(seededTensors(config)), visionFeeds(config));
      assertNear(out["image_embeds"], image_embeds, config.embedDim, 0.999999, `${config.name} ${flavour}`);
    }
  }
});

test("places that a plan does not name stay in float: with none named only positions and angles are rounded", async () => {
  const [{ config, image_embeds }] = golden.filter(({ config }) => config.name === "EVA02-B-16") as [(typeof golden)[0]];
  const plan = { scheme: "int8-dynamic", weights: { type: "int8", bits: 8 }, places: new Map(), embeddings: false } as const;
  const out = await run(visionModel({ config, flavour: "ort", plan }).encode(seededTensors(config)), visionFeeds(config));
  assertNear(out["image_embeds"], image_embeds, config.embedDim, 0.9999, "no place rounded");
});

test("a static graph measures as it runs where one row alone is read, and where its plan says so", async () => {
  const [{ config, image_embeds }] = golden.filter(({ config }) => config.name === "EVA02-B-16") as [(typeof golden)[0]];
  const plan = await visionPlan(config, "int8-static");
  const [first, ...others] = plan.places as Map<string, PlacePlan>;
  const mixed = {
    ...plan,
    places: new Map([[(first as [string, PlacePlan])[0], { smooth: null, scale: 1, zero: 0, dynamic: true }], ...others]),
  };
  const graph = (used: QuantPlan, patchEmbeds: boolean) =>
    visionModel({ config, flavour: "ort", plan: used, patchEmbeds }).encode(seededTensors(config));
  const measured = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1").split("DynamicQuantizeLinear_").length - 1;
  // The last row: q, what attention answers, both of its mlp, the head.
  assert.deepEqual([measured(graph(plan, true)), measured(graph(plan, false)), measured(graph(mixed, true))], [0, 5, 1]);
  // A scale of 1 would round all pixels away, were it used.
  assertNear(
    (await run(graph(mixed, false), visionFeeds(config)))["image_embeds"],
    image_embeds,
    config.embedDim,
    0.998,
    "one range measured",
  );
});

test("an 8-bit graph written from a float graph's own weights is the one written from the checkpoint, byte for byte", async () => {
  const [{ config }] = golden.filter(({ config }) => config.name === "EVA02-L-14") as [(typeof golden)[0]];
  const weights = seededTensors(config);
  for (const [float, rounded] of [
    [visionModel({ config }), visionModel({ config, flavour: "ort", plan: await visionPlan(config, "int8-static") })],
    [textModel({ config }), textModel({ config, flavour: "ort", plan: await textPlan(config, "int8-static") })],
  ] as const) {
    const read = await openPrepared(bytesSource(float.encode(weights)), async () => assert.fail("nothing lies beside a small model"));
    const pieces: Uint8Array[] = [];
    for await (const { bytes } of rounded.streamPrepared(read, "unused")) pieces.push(bytes.slice());
    assert.ok(Buffer.concat(pieces).equals(rounded.encode(weights)));
  }
});

test("the probe tells a processor that multiplies 8 bits exactly from one that saturates", async () => {
  const out = await run(productProbe(), { x: new Tensor("float32", new Float32Array(64).fill(1), [1, 64]) });
  const y = (out["y"] as Tensor).data as Float32Array;
  // 64, or half of it where pairs of products end at 32767.
  assert.ok(Math.abs((y[0] as number) - 64) < 0.01 || Math.abs((y[0] as number) - (32767 * 32) / (255 * 127)) < 0.01, `${y[0]}`);
});

async function run(graph: Uint8Array, feeds: Record<string, Tensor>): Promise<Record<string, Tensor>> {
  const session = await InferenceSession.create(graph);
  const out = (await session.run(feeds)) as Record<string, Tensor>;
  await session.release();
  return out;
}

function assertNear(actual: Tensor | undefined, expected: number[], dim: number, least: number, what: string): void {
  const data = actual?.data as Float32Array;
  assert.equal(data.length, expected.length, what);
  for (let row = 0; row < data.length; row += dim) {
    let dot = 0;
    for (let i = row; i < row + dim; i++) dot += (data[i] as number) * (expected[i] as number);
    assert.ok(dot >= least, `${what}: cosine ${dot}`);
  }
}
