/** Pictures that programs ask the line door about, with the real agent, inspector and broker; words with the base model and its text tower. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { AgentClient } from "@kenpin/client";
import { baseBundle, textile } from "../support/base-bundle.ts";
import { drawFrame } from "../support/test-bundle.ts";
import { DOOR_TOKEN, doorClient, openAskedSite } from "./asked-site.ts";
import { type EdgeSite, until } from "./edge-site.ts";

describe("pictures as the line's own", () => {
  let site: EdgeSite;
  let client: AgentClient;
  let url = "";

  before(async () => {
    site = await openAskedSite({}, { camera: "bench", part: "bracket", waiting: 2 });
    ({ client, url } = await doorClient(site));
  });
  after(() => site.close());

  test("a picture gets its verdict, which is recorded and on its way to the hub like any other", async () => {
    const { verdict, map } = await client.inspect(await drawFrame(), { trigger: "part-7" });
    const { camera, triggerId, part, mode, seq } = verdict;
    assert.deepEqual([camera, triggerId, part, mode, seq], ["bench", "part-7", "bracket", "live", 1]);
    assert.equal(typeof verdict.score, "number");
    assert.equal(map, null);
    await until("the hub to have it", () => site.inbox.verdicts.some(({ id }) => id === verdict.id));
    const again = await client.inspect(await drawFrame({ type: "png" }), { part: "other" });
    assert.deepEqual([again.verdict.part, again.verdict.seq], ["other", 2]);
  });

  test("asked for, the heat map comes as a PNG as large as the picture", async () => {
    const { verdict, map } = await client.inspect(await drawFrame(), { map: true });
    assert.equal(map?.subarray(1, 4).toString(), "PNG");
    assert.deepEqual([map?.readUInt32BE(16), map?.readUInt32BE(20)], [verdict.frame.width, verdict.frame.height]);
  });

  test("a wrong token, something that is no picture and too much of it are refused, each by name", async () => {
    const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
      fetch(`${url}/v1/inspect`, {
        method: "POST",
        body,
        headers: { authorization: `Bearer ${DOOR_TOKEN}`, "content-type": "image/jpeg", ...headers },
      });
    const codeOf = async (answer: Response) => [answer.status, ((await answer.json()) as { code: string }).code];
    assert.deepEqual(await codeOf(await post("x", { authorization: "Bearer wrong" })), [401, "token-unknown"]);
    assert.deepEqual(await codeOf(await post("no picture")), [415, "picture-expected"]);
    assert.deepEqual(await codeOf(await post("GIF89a", { "content-type": "image/gif" })), [415, "picture-expected"]);
    assert.deepEqual(await codeOf(await post("{", { "content-type": "application/json" })), [400, "json-malformed"]);
    assert.deepEqual(await codeOf(await post('{"picture":"x"}', { "content-type": "application/json" })), [400, "invalid-input"]);
    assert.deepEqual(await codeOf(await post(new Uint8Array(33 * 1024 * 1024))), [413, "body-too-large"]);
  });

  test("a picture that begins like one and is none is an unknown verdict, not an error", async () => {
    const { verdict } = await client.inspect((await drawFrame()).subarray(0, 40));
    assert.deepEqual([verdict.outcome, verdict.reason, verdict.score], ["unknown", "frame-unreadable", null]);
  });

  test("more pictures than may wait are refused, and the door takes the next ones", async () => {
    const frame = await drawFrame();
    const answers = await Promise.allSettled(Array.from({ length: 8 }, () => client.inspect(frame)));
    const refused = answers.filter((answer) => answer.status === "rejected");
    assert.ok(refused.length >= 1 && refused.length <= 6, `${refused.length} of 8 were refused`);
    for (const { reason } of refused) assert.equal(reason.code, "inspector-busy");
    assert.equal((await client.state()).waiting, 0);
    await client.inspect(frame);
  });

  test("words need a bundle with a text tower, and the refusal says so", async () => {
    assert.equal((await client.state()).wordsCanChange, false);
    const words = { object: "", good: ["clean"], bad: ["scratch"] };
    await assert.rejects(client.inspect(await drawFrame(), { words }), { code: "text-tower-missing" });
  });
});

test("with words of its own a picture is a try-out: other words, another score, another digest, and nobody else hears of it", async () => {
  const site = await openAskedSite({ bundle: await baseBundle() }, {});
  try {
    const { client } = await doorClient(site);
    const [good] = await textile("good", 1);
    const bytes = (good as NonNullable<typeof good>).bytes;
    const own = await client.inspect(bytes);
    const words = { object: "fabric", good: ["clean"], bad: ["キズ", "汚れ"] };
    const tried = await client.inspect(bytes, { words, map: true });
    assert.deepEqual([own.verdict.mode, tried.verdict.mode], ["live", "shadow"]);
    assert.notEqual(tried.verdict.settings, own.verdict.settings);
    assert.notEqual(tried.verdict.score, own.verdict.score);
    assert.notEqual(tried.verdict.bootId, own.verdict.bootId);
    assert.equal(tried.map?.subarray(1, 4).toString(), "PNG");
    const again = await client.inspect(bytes, { words });
    assert.deepEqual([again.verdict.score, again.verdict.settings, again.verdict.seq], [tried.verdict.score, tried.verdict.settings, 2]);
    await assert.rejects(client.inspect(bytes, { words: { object: "", good: [], bad: ["ぬるぽ"] } }), { code: "word-unknown" });
    const after = await client.inspect(bytes);
    assert.deepEqual([after.verdict.score, after.verdict.seq], [own.verdict.score, 2]);
    await until("the hub", () => site.inbox.verdicts.length >= 2);
    assert.ok(site.inbox.verdicts.every(({ mode }) => mode === "live"));
  } finally {
    await site.close();
  }
});
