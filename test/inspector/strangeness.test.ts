/** Another product is told from a defect: by the patches that a defect leaves alone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom } from "@kenpin/stats";
import { calmOf, strangeness } from "../../packages/inspector/src/strangeness.ts";

const random = createRandom(9);
/** Distances of a frame's patches; a share of them lies `away` further. */
const frame = ({ level = 0.1, share = 0, away = 0.5 } = {}) => {
  const own = level * (1 + 0.02 * random.normal());
  return Float32Array.from({ length: 400 }, (_, i) => own * (1 + 0.1 * Math.abs(random.normal())) + (i < share * 400 ? away : 0));
};
const taught = (n: number) => calmOf(Array.from({ length: n }, () => frame()));

test("a defect over most of the part is no other product, however far its patches lie; one that leaves no patch alone is", () => {
  const calm = taught(20);
  assert.ok(strangeness(frame(), calm) < 0.5);
  assert.ok(strangeness(frame({ share: 0.7 }), calm) < 0.5);
  assert.ok(strangeness(frame({ share: 1 }), calm) > 1);
  assert.ok(strangeness(frame({ level: 0.2 }), calm) > 1);
});

test("a thousand good frames raise no alarm, whether three references were taught or twenty", () => {
  for (const references of [3, 5, 20]) {
    const calm = taught(references);
    for (let i = 0; i < 1000; i++) assert.ok(strangeness(frame(), calm) < 1, `${references} references`);
  }
});

test("two references that differ leave room for what nobody has shown yet", () => {
  const calm = calmOf([frame({ level: 0.1 }), frame({ level: 0.14 })]);
  assert.ok(strangeness(frame({ level: 0.3 }), calm) < 1);
});

test("references that are one and the same picture give a limit all the same", () => {
  const same = new Float32Array(64);
  const calm = calmOf([same, same, same]);
  assert.ok(Number.isFinite(strangeness(same, calm)) && strangeness(same, calm) < 1);
  assert.ok(
    strangeness(
      same.map(() => 0.2),
      calm,
    ) > 1,
  );
});
