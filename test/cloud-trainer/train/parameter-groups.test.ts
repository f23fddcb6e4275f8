/** Shares of the rate and weight decay against the released script's rule (test/fixtures/train/make_groups.py). */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { modelConfig, tensorShapes } from "@kenpin/clip";
import { hasDecay, PLAIN_RATE, parameterShare } from "../../../cloud-trainer/src/train/engines/tfjs/parameter-groups.ts";

type Golden = {
  model: string;
  rates: [number, number, number];
  layerDecay: [number, number];
  parameters: [name: string, shape: number[], rate: number, decay: boolean][];
};

const FIXTURES = join(import.meta.dirname, "../../fixtures/train");
const PYTHON = process.env["KENPIN_PYTHON"];
const golden = JSON.parse(readFileSync(join(FIXTURES, "groups.json"), "utf8")) as Golden[];

for (const one of golden) {
  test(`every parameter of ${one.model} has the rate and the decay that the released script gives it`, () => {
    const config = modelConfig(one.model);
    assert.deepEqual(one.parameters.map(([name]) => name).sort(), [...tensorShapes(config).keys()].sort());
    const share = shareOf(one);
    for (const [name, shape, rate, decay] of one.parameters) {
      assert.ok(Math.abs(share(name) / rate - 1) < 1e-12, `${name}: ${share(name)}, expected ${rate}`);
      assert.equal(hasDecay(name, shape), decay, name);
    }
  });
}

test("what has no decay takes a further factor; a head that only training has takes the rate of the rest, whole", () => {
  const one = golden[0] as Golden;
  const [whole, plain] = [shareOf(one), shareOf(one, PLAIN_RATE)];
  for (const [name, , , decay] of one.parameters) assert.ok(Math.abs(plain(name) - whole(name) * (decay ? 1 : PLAIN_RATE)) < 1e-15, name);
  assert.equal(plain("patch_bias"), one.rates[2]);
});

test("open_clip's parameters, listed now, are those of the golden file", {
  skip: PYTHON ? false : "KENPIN_PYTHON names no interpreter",
}, () => {
  const { status, stdout, stderr } = spawnSync(PYTHON as string, [join(FIXTURES, "make_groups.py"), "--stdout"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), golden);
});

function shareOf({ model, rates: [image, text, other], layerDecay: [ofImage, ofText] }: Golden, plain = 1): (name: string) => number {
  const options = { config: modelConfig(model), rates: { image, text, other }, layerDecay: { image: ofImage, text: ofText } };
  return parameterShare({ ...options, plain });
}
