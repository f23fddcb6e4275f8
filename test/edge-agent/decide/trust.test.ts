/**
 * A frame's whole way to a verdict that somebody may rely on: the real agent, broker and inspector, a bundle whose thresholds carry a
 * promise, and a camera that is covered, blinded, stuck, out of focus, or looks at something else.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { signCommand } from "@kenpin/bundle";
import type { ThresholdPromise, Verdict } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import sharp, { type Sharp } from "sharp";
import { drawFrame, testBundle } from "../../support/test-bundle.ts";
import { type EdgeSite, openSite, until } from "../edge-site.ts";

const TAUGHT = 8;
const SIDE = 48;
const noise = createRandom(3);

test("a verdict carries the promised coverage once the exemplars it was made with are taught, and what cannot be trusted is unknown with its reason", async () => {
  const kept = { kept: true, samples: 60, missing: 0 };
  const promise: ThresholdPromise = {
    method: "conformal",
    bad: { alpha: 0.05, ...kept },
    good: { alpha: 0.1, ...kept },
    confidence: null,
    coverage: 0.9,
    references: TAUGHT,
  };
  const site = await openSite({ bundle: await testBundle({ thresholds: { pass: 1, cut: 1, fail: 1, promise } }) });
  try {
    await site.startAgent();
    const before = await answered(site, "before", await drawFrame());
    assert.equal(before.coverage, null, "without those exemplars the scores are others");
    await teach(site);
    for (let i = 0; i < 20; i++) {
      const { outcome, coverage, predictionSet } = await answered(site, `part-${i}`, await drawFrame());
      assert.deepEqual([outcome, coverage, predictionSet], ["pass", 0.9, ["good"]]);
    }
    const stuck = await drawFrame();
    for (const i of [1, 2]) assert.equal((await answered(site, `stuck-${i}`, stuck)).reason, undefined);
    const doubtful: [name: string, frame: Uint8Array, reason: Verdict["reason"]][] = [
      ["stuck-3", stuck, "camera-frozen"],
      ["covered", await picture(() => 1), "camera-black"],
      ["blinded", await picture(() => 255), "camera-overexposed"],
      ["half-blinded", await changed((image) => image.linear(3, 0)), "camera-overexposed"],
      ["light-out", await changed((image) => image.linear(0.15, 0)), "camera-black"],
      ["soft", await changed((image) => image.blur(3)), "camera-blurred"],
      ["empty-belt", await picture((x) => 110 + x / 5 + noise.between(-6, 6)), "out-of-domain"],
      ["other-size", await changed((image) => image.resize(96)), "out-of-domain"],
      ["other-part", await picture((x, y) => 120 + 45 * Math.sign(Math.sin(x) * Math.sin(y)), [50, 0, -40]), "out-of-domain"],
    ];
    for (const [name, frame, reason] of doubtful) {
      const verdict = await answered(site, name, frame);
      assert.deepEqual([verdict.outcome, verdict.reason], ["unknown", reason], name);
      const isForeign = reason === "out-of-domain";
      assert.deepEqual([verdict.predictionSet, verdict.coverage], isForeign ? [[], null] : [["good", "bad"], 0.9], name);
    }
    assert.equal((await answered(site, "whole-again", await drawFrame())).outcome, "pass");
  } finally {
    await site.close();
  }
});

async function answered(site: EdgeSite, name: string, frame: Uint8Array): Promise<Verdict> {
  await site.place("line", `${name}.img`, frame);
  await until(`the verdict of ${name}`, () => site.inbox.byTrigger().has(name));
  return site.inbox.byTrigger().get(name) as Verdict;
}

/** By a signed command, as the hub sends it. */
async function teach(site: EdgeSite): Promise<void> {
  const [id, correlationId] = [randomUUID(), randomUUID()];
  const expiresAt = new Date(Date.now() + 60_000).toISOString();
  const jws = await signCommand(site.bundle.signer.signing, {
    name: "teach",
    camera: "line",
    count: TAUGHT,
    id,
    site: "test",
    agent: "edge-1",
    expiresAt,
  });
  const { link, topics } = site.inbox;
  await link.publish(topics.command("teach"), { jws, replyTo: topics.reply(correlationId), correlationId, expiresAt });
  await until("the reply", () => site.inbox.replies.at(-1)?.state === "accepted");
  for (let i = 0; i < TAUGHT; i++) await answered(site, `taught-${i}`, await drawFrame());
  await until("the references", () => site.inbox.reported.at(-1)?.references === TAUGHT);
}

/** A part's picture with another exposure, or through a lens that slipped. */
async function changed(change: (image: Sharp) => Sharp): Promise<Uint8Array> {
  return new Uint8Array(
    await change(sharp(await drawFrame({ type: "png" })))
      .png()
      .toBuffer(),
  );
}

async function picture(grey: (x: number, y: number) => number, colour = [0, 0, 0]): Promise<Uint8Array> {
  const data = Buffer.alloc(SIDE * SIDE * 3);
  for (let i = 0; i < data.length; i++) {
    const [x, y] = [Math.floor(i / 3) % SIDE, Math.floor(i / 3 / SIDE)];
    data[i] = Math.min(255, Math.max(0, Math.round(grey(x, y) + (colour[i % 3] as number))));
  }
  return new Uint8Array(
    await sharp(data, { raw: { width: SIDE, height: SIDE, channels: 3 } })
      .png()
      .toBuffer(),
  );
}
