/**
 * Cameras that go away and come back, again and again: nothing is left behind. KENPIN_RECONNECTS sets how often (500 is the figure to
 * reach, which takes minutes). Real servers and programs; what is counted is what the operating system says.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";
import { Camera } from "@kenpin/schema";
import { pino } from "pino";
import { OpeningTurn } from "../../../edge-agent/src/capture/opening-turn.ts";
import { openSource } from "../../../edge-agent/src/capture/open-source.ts";
import { withoutGstreamer } from "../../support/rtsp.ts";
import { until } from "../edge-site.ts";

const TIMES = Number(process.env["KENPIN_RECONNECTS"] ?? 8);
/** Of Node's own: timers, threads and sockets that are being closed. */
const SPARE_DESCRIPTORS = 8;

test(`a camera over HTTP that is unplugged and back ${TIMES} times gives pictures each time, and nothing is left open`, async (t) => {
  let isPlugged = true;
  const server = createServer((_, response) => (isPlugged ? response.end("picture") : response.destroy()));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/`;
  await withSource({ kind: "snapshot", url, intervalMs: 10 }, async ({ pictures, lost }) => {
    await until("a picture", () => pictures() > 0);
    const before = descriptors();
    for (let i = 0; i < TIMES; i++) {
      isPlugged = false;
      await until(`loss ${i}`, () => lost() === i + 1);
      isPlugged = true;
      const seen = pictures();
      await until(`return ${i}`, () => pictures() > seen);
    }
    t.diagnostic(`open descriptors: ${before} before, ${descriptors()} after ${TIMES} times`);
    assert.ok(descriptors() <= before + SPARE_DESCRIPTORS, `${descriptors()} descriptors, ${before} before`);
  });
  server.close();
  server.closeAllConnections();
});

test(`a camera's program that is killed ${TIMES} times is started again each time, and none is left behind`, {
  skip: withoutGstreamer,
}, async (t) => {
  const pipeline = "videotestsrc is-live=true pattern=snow ! video/x-raw,width=32,height=32,framerate=30/1 ! jpegenc";
  await withSource({ kind: "gstreamer", pipeline }, async ({ pictures, lost }) => {
    await until("a picture", () => pictures() > 0);
    const before = descriptors();
    for (let i = 0; i < TIMES; i++) {
      const [child] = children();
      process.kill(child as number, "SIGKILL");
      await until(`loss ${i}`, () => lost() === i + 1);
      const seen = pictures();
      await until(`return ${i}`, () => pictures() > seen);
      assert.equal(children().length, 1);
    }
    t.diagnostic(`open descriptors: ${before} before, ${descriptors()} after ${TIMES} times`);
    assert.ok(descriptors() <= before + SPARE_DESCRIPTORS, `${descriptors()} descriptors, ${before} before`);
  });
  assert.deepEqual(children(), []);
});

async function withSource(source: object, work: (seen: { pictures: () => number; lost: () => number }) => Promise<void>): Promise<void> {
  const seen = { pictures: 0, lost: 0 };
  const opened = openSource({
    camera: Camera.parse({ name: "line", source }),
    onFrame: async () => {
      seen.pictures++;
      return null;
    },
    onRemoved: () => undefined,
    isPaused: () => false,
    turn: new OpeningTurn(),
    random: () => 0,
    log: pino({ level: "debug" }, { write: (line: string) => (line.includes('"camera-lost"') ? seen.lost++ : 0) }),
  });
  opened.start();
  try {
    await work({ pictures: () => seen.pictures, lost: () => seen.lost });
  } finally {
    await opened.stop();
  }
}

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** This process's children that are GStreamer's. */
function children(): number[] {
  const listed = execFileSync("ps", ["-o", "pid=,comm=", "--ppid", String(process.pid)], { encoding: "utf8" });
  return listed.split("\n").flatMap((line) => (line.includes("gst-launch") ? [Number.parseInt(line, 10)] : []));
}
