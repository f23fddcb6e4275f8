/** What a run starts from: towers of their own files, put together here, and the file that must not pass for one. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { encodeSafetensors, modelConfig, type Tensor } from "@kenpin/clip";
import { startOf } from "../../../cloud-trainer/src/recipe/start.ts";
import { seededTensors } from "../../onnx/seeded-weights.ts";
import { inFolder } from "../import/seeded-checkpoint.ts";

const MODEL = "kenpin-xs-8";
const config = modelConfig(MODEL);
const weights = seededTensors(config);
const TRUNK = "visual.trunk.";
const LICENCE = "MIT";

test("the image tower comes from masked image modelling under EVA's own names, and its projection is drawn afresh", async () => {
  await inFolder(async (dir) => {
    const file = join(dir, "eva02_mim.safetensors");
    await writeFile(file, encodeSafetensors(modellingFile(), {}));
    const start = { model: MODEL, image: { file, kind: "masked-image-modelling" as const, licence: LICENCE } };
    const { tensors, card } = await startOf({ seed: 3, start });
    const plain = await startOf({ seed: 3, start: { model: MODEL } });
    for (const [name, { data }] of weights) {
      const taken = name.startsWith(TRUNK) && !name.startsWith(`${TRUNK}head.`);
      assert.deepEqual(tensors.get(name)?.data, taken ? data : plain.tensors.get(name)?.data, name);
    }
    const row = card.provenance.at(-1);
    assert.equal(row?.licence, LICENCE);
    assert.match(row?.source ?? "", /^eva02_mim\.safetensors sha256 [0-9a-f]{64}; 2 tensors drawn afresh$/);
  });
});

test("both towers come from two files, whatever naming they use", async () => {
  await inFolder(async (dir) => {
    const [image, text] = [join(dir, "clip.safetensors"), join(dir, "text.safetensors")];
    await writeFile(image, encodeSafetensors(weights, {}));
    await writeFile(text, encodeSafetensors(openAiText(), {}));
    const start = { model: MODEL, image: { file: image, kind: "clip" as const, licence: LICENCE }, text: { file: text, licence: LICENCE } };
    const { tensors, card } = await startOf({ seed: 3, start });
    for (const [name, { data }] of weights) if (name !== "logit_scale") assert.deepEqual(tensors.get(name)?.data, data, name);
    assert.ok(Math.abs((tensors.get("logit_scale")?.data[0] as number) - Math.log(1 / 0.07)) < 1e-6);
    assert.equal(card.provenance.length, 3);
  });
});

test("finished CLIP weights do not pass for a masked-image-modelling start", async () => {
  await inFolder(async (dir) => {
    const file = join(dir, "clip.safetensors");
    await writeFile(file, encodeSafetensors(weights, {}));
    const start = { model: MODEL, image: { file, kind: "masked-image-modelling" as const, licence: LICENCE } };
    await assert.rejects(startOf({ seed: 3, start }), { code: "checkpoint-unfit", message: /a finished CLIP.*kind: clip/ });
  });
});

test("a tower of another size is refused with the names that are missing", async () => {
  await inFolder(async (dir) => {
    const file = join(dir, "deep.safetensors");
    await writeFile(file, encodeSafetensors(modellingFile(), {}));
    const start = { model: "kenpin-s-8", image: { file, kind: "masked-image-modelling" as const, licence: LICENCE } };
    await assert.rejects(startOf({ seed: 3, start }), { message: /holds no image tower of kenpin-s-8: \d+ tensors missing/ });
  });
});

/** As BAAI's files have it: no prefix, biases of q and v apart, a mask token and a head for the teacher's features. */
function modellingFile(): Map<string, Tensor> {
  const file = new Map<string, Tensor>();
  for (const [name, tensor] of weights) {
    if (!name.startsWith(TRUNK) || name.startsWith(`${TRUNK}head.`)) continue;
    const theirs = name
      .slice(TRUNK.length)
      .replace(/\.attn\.([qv])_proj\.bias$/, ".attn.$1_bias")
      .replace(".attn.norm.", ".attn.inner_attn_ln.")
      .replace(".mlp.fc1_g.", ".mlp.w1.")
      .replace(".mlp.fc1_x.", ".mlp.w2.")
      .replace(".mlp.fc2.", ".mlp.w3.")
      .replace(".mlp.norm.", ".mlp.ffn_ln.");
    file.set(theirs, tensor);
  }
  const { width } = config.image;
  file.set("mask_token", { shape: [1, 1, width], data: new Float32Array(width) });
  file.set("lm_head.weight", { shape: [8, width], data: new Float32Array(8 * width) });
  file.set("rope.freqs_cos", { shape: [4], data: new Float32Array(4) });
  return file;
}

/** As OpenAI's and open_clip's plain models have it: the text tower at the top, beside an image tower nobody asked for. */
function openAiText(): Map<string, Tensor> {
  const text = [...weights]
    .filter(([name]) => name.startsWith("text."))
    .map(([name, tensor]) => [name.slice("text.".length), tensor] as const);
  return new Map([...text, ["visual.conv1.weight", { shape: [2], data: new Float32Array(2) }]]);
}
