/** Topics and filters by MQTT 5, section 4.7, and the front up to which nothing is missing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ContiguousFront, matches } from "@kenpin/messaging";
import { agentTopics, hubFilters, parseTopic } from "@kenpin/schema";
import fc from "fast-check";

test("a filter matches level by level: + is one level, # is the level it stands for and all below", () => {
  const yes: [string, string][] = [
    ["a/b", "a/b"],
    ["a/+", "a/b"],
    ["a/+", "a/"],
    ["+/b", "a/b"],
    ["+/+", "/finance"],
    ["a/#", "a/b/c"],
    ["a/#", "a"],
    ["#", "a/b"],
    ["a/+/c/#", "a/b/c/d/e"],
  ];
  const no: [string, string][] = [
    ["a/b", "a/b/c"],
    ["a/b/c", "a/b"],
    ["a/+", "a"],
    ["a/+", "a/b/c"],
    ["+", "/finance"],
    ["a/#", "ab"],
    ["A/b", "a/b"],
    ["a/+/c", "a/b/d"],
  ];
  for (const [filter, topic] of yes) assert.equal(matches(filter, topic), true, `${filter} should match ${topic}`);
  for (const [filter, topic] of no) assert.equal(matches(filter, topic), false, `${filter} should not match ${topic}`);
});

test("the hub's filters match all that an agent writes and nothing that the hub writes", () => {
  const topics = agentTopics("site", "edge-1");
  const written = [topics.status, topics.verdict("line"), topics.sample("line"), topics.bundleReported, topics.reply("x")];
  const read = [topics.bundleDesired, topics.command("teach"), topics.ack];
  const heard = (filters: string[], topic: string) => filters.filter((filter) => matches(filter, topic)).length;
  for (const topic of written) {
    assert.deepEqual([heard(hubFilters(), topic), heard(hubFilters("site"), topic), heard(hubFilters("other"), topic)], [1, 1, 0], topic);
    assert.deepEqual([parseTopic(topic)?.site, parseTopic(topic)?.agent], ["site", "edge-1"]);
  }
  for (const topic of read) assert.equal(heard(hubFilters(), topic), 0, topic);
  assert.ok(matches(topics.commands, topics.command("teach")));
  for (const bad of ["a/b", "a+", "#", "", "x".repeat(65)]) assert.throws(() => agentTopics("site", bad));
});

test("the front reaches as far as nothing is missing, in whatever order and however often messages come", () => {
  const front = new ContiguousFront(4);
  assert.deepEqual(
    [5, 7, 8, 7, 3, 6, 10].map((seq) => front.add(seq)),
    [5, 5, 5, 5, 5, 8, 8],
  );
  assert.equal(front.reached, 8);
  const arrivals = fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 120 });
  fc.assert(
    fc.property(arrivals, (seqs) => {
      const some = new ContiguousFront();
      for (const seq of seqs) some.add(seq);
      let expected = 0;
      while (seqs.includes(expected + 1)) expected++;
      assert.equal(some.reached, expected);
    }),
  );
});
