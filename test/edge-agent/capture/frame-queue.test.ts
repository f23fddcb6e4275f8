/** What waits between a camera and the inspector, and what becomes of it when there is too much. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Camera } from "@kenpin/schema";
import fc from "fast-check";
import { pino } from "pino";
import { FrameQueue, type Outcome } from "../../../edge-agent/src/capture/frame-queue.ts";
import { liveFrame } from "../../../edge-agent/src/capture/live-frame.ts";
import type { Frame } from "../../../edge-agent/src/frame.ts";

const CAMERA = Camera.parse({ name: "line", source: { kind: "push" } });

test("newest-first lets a new frame overtake those that wait, counted", async () => {
  await withQueue("newest-first", 2, async ({ offer, answered, queue, release }) => {
    const offered = ["b", "c", "d", "e"].map((id) => offer(id)); // two may wait
    release();
    assert.deepEqual(await Promise.all(offered), [
      { shed: "newer-frame" },
      { shed: "newer-frame" },
      { shed: "newer-frame" },
      { verdict: null },
    ]);
    assert.deepEqual(answered(), ["in hand", "e"]);
    assert.deepEqual({ ...queue.counts, waiting: queue.waiting }, counts({ offered: 5, answered: 2, shedNewer: 3 }));
  });
});

test("every-frame keeps the order and refuses new frames while it is full, counted", async () => {
  await withQueue("every-frame", 2, async ({ offer, answered, queue, release }) => {
    const offered = ["b", "c", "d", "e"].map((id) => offer(id));
    assert.deepEqual(await Promise.all(offered.slice(2)), [{ shed: "queue-full" }, { shed: "queue-full" }]);
    release();
    await Promise.all(offered);
    assert.deepEqual(answered(), ["in hand", "b", "c"]);
    assert.deepEqual({ ...queue.counts, waiting: queue.waiting }, counts({ offered: 5, answered: 3, shedFull: 2 }));
  });
});

test("a frame that somebody waits for comes before those that nobody does, and is never let go of", async () => {
  await withQueue("newest-first", 2, async ({ offer, frames, answered, release }) => {
    const offered = [offer("asked-1", true), offer("b"), offer("c"), offer("asked-2", true), offer("asked-3", true)];
    release();
    await Promise.all(offered);
    assert.deepEqual(answered(), ["in hand", "asked-1", "asked-2", "asked-3"]);
    const last = frames.at(-1);
    assert.equal(last?.bytes, null); // two waited already, both asked for
    assert.equal(last?.unseen, "queue-full");
  });
});

test("a frame whose deadline passed while it waited is counted late", async () => {
  await withQueue("every-frame", 4, async ({ first, queue, release }) => {
    const camera = { ...CAMERA, deadlineMs: 1 };
    const since = performance.now() - 50;
    release();
    await first;
    await queue.offer(liveFrame(camera, { trigger: { id: "old", since }, isAsked: true, bytes: Buffer.from("x") }));
    assert.deepEqual({ answered: queue.counts.answered, late: queue.counts.late }, { answered: 2, late: 1 });
  });
});

test("a frame whose verdict could not be kept is tried again, and what waits when the agent stops is told so", async () => {
  let tries = 0;
  const queue = new FrameQueue({
    camera: "line",
    order: "every-frame",
    frames: 4,
    onFrame: async () => {
      if (++tries === 1) throw new Error("no space left on the disk");
      return null;
    },
    log: pino({ level: "silent" }),
  });
  queue.start();
  assert.deepEqual(await queue.offer(liveFrame(CAMERA, { trigger: null, isAsked: false, bytes: null })), { verdict: null });
  assert.equal(tries, 2);
  await queue.stop();
  assert.deepEqual(await queue.offer(liveFrame(CAMERA, { trigger: null, isAsked: false, bytes: null })), { shed: "agent-stopping" });
  assert.equal(queue.counts.shedStopping, 1);
});

test("however frames come, each is in exactly one place", async () => {
  const step = fc.record({ isAsked: fc.boolean(), pause: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("newest-first", "every-frame"),
      fc.integer({ min: 1, max: 5 }),
      fc.array(step, { maxLength: 40 }),
      play,
    ),
    { numRuns: 60 },
  );
});

async function play(order: "newest-first" | "every-frame", room: number, steps: { isAsked: boolean; pause: boolean }[]): Promise<void> {
  await withQueue(order, room, async ({ offer, first, frames, queue, release }) => {
    release();
    const outcomes: Promise<Outcome>[] = [];
    for (const [i, { isAsked, pause }] of steps.entries()) {
      outcomes.push(offer(String(i), isAsked));
      if (pause) await new Promise(setImmediate);
    }
    const settled = await Promise.all(outcomes);
    await first;
    const shed = settled.filter((outcome) => "shed" in outcome).length;
    const { offered, answered, shedNewer, shedFull } = queue.counts;
    assert.equal(offered, steps.length + 1);
    assert.equal(answered, frames.length);
    assert.equal(shedNewer + shedFull, shed);
    assert.equal(answered + shed, offered);
    assert.ok(steps.every(({ isAsked }, i) => !isAsked || "verdict" in (settled[i] as Outcome)));
    assert.equal(new Set(frames.map(({ triggerId }) => triggerId)).size, frames.length);
  });
}

/** A queue whose first frame is held in hand until it is released. */
async function withQueue(order: "newest-first" | "every-frame", frames: number, work: (held: Held) => Promise<void>): Promise<void> {
  const holding = held(order, frames);
  await new Promise(setImmediate); // the first one is taken in hand
  try {
    await work(holding);
  } finally {
    holding.release();
    await holding.queue.stop();
  }
}

type Held = {
  queue: FrameQueue;
  offer: (id: string, isAsked?: boolean) => Promise<Outcome>;
  first: Promise<Outcome>;
  frames: Frame[];
  answered: () => string[];
  release: () => void;
};

function held(order: "newest-first" | "every-frame", room: number): Held {
  const gate = Promise.withResolvers<void>();
  const frames: Frame[] = [];
  const queue = new FrameQueue({
    camera: "line",
    order,
    frames: room,
    onFrame: async (frame) => {
      frames.push(frame);
      await gate.promise;
      return null;
    },
    log: pino({ level: "silent" }),
  });
  queue.start();
  const offer = (id: string, isAsked = false) =>
    queue.offer(liveFrame(CAMERA, { trigger: { id, since: performance.now() }, isAsked, bytes: Buffer.from(id) }));
  return {
    queue,
    offer,
    first: offer("in hand"),
    frames,
    answered: () => frames.map(({ triggerId }) => triggerId),
    release: () => gate.resolve(),
  };
}

function counts(some: Partial<Record<"offered" | "answered" | "shedNewer" | "shedFull", number>>) {
  return { offered: 0, answered: 0, late: 0, shedNewer: 0, shedFull: 0, shedStopping: 0, waiting: 0, ...some };
}
