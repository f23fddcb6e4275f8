/** A camera asked over HTTP: a real server in its place, with a login, that goes away, sends too much, or hangs. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { test } from "node:test";
import { Camera } from "@kenpin/schema";
import { pino } from "pino";
import { FRAME_LIMIT_BYTES } from "../../../edge-agent/src/capture/frame-file.ts";
import { OpeningTurn } from "../../../edge-agent/src/capture/opening-turn.ts";
import { openSource } from "../../../edge-agent/src/capture/open-source.ts";
import type { Frame } from "../../../edge-agent/src/frame.ts";
import { until } from "../edge-site.ts";

const PASSWORD = "s3cret/with:signs";

test("pictures come at the camera's interval with its login, and the log never holds the password", async () => {
  process.env["TEST_CAMERA_PASSWORD"] = PASSWORD;
  await withCamera(
    { source: { login: { username: "kenpin", passwordEnv: "TEST_CAMERA_PASSWORD" } } },
    async ({ server, frames, logged }) => {
      await until("three pictures", () => frames.length >= 3);
      assert.ok(frames.every(({ bytes, isAsked }) => bytes && Buffer.from(bytes).toString().startsWith("picture") && !isAsked));
      assert.equal(new Set(frames.map(({ triggerId }) => triggerId)).size, frames.length);
      assert.equal(server.state.authorization, `Basic ${Buffer.from(`kenpin:${PASSWORD}`).toString("base64")}`);
      server.state.answer = (response) => response.writeHead(401).end(`you said ${PASSWORD}`);
      await until("the refusal", () => logged.some((line) => line.includes("camera-lost")));
      assert.ok(logged.every((line) => !line.includes(PASSWORD) && !line.includes(encodeURIComponent(PASSWORD))));
    },
  );
});

test("a camera that goes away is stale and said once, and comes back by itself", async () => {
  await withCamera({ staleMs: 100 }, async ({ server, source, frames, logged }) => {
    await until("a picture", () => frames.length > 0);
    assert.ok(source.isFresh());
    server.state.answer = (response) => response.destroy();
    await until("the camera to be stale", () => !source.isFresh());
    await until("a second try", () => server.state.asked > 5 || logged.filter((line) => line.includes("camera-lost")).length > 0);
    server.state.answer = null;
    const before = frames.length;
    await until("pictures again", () => frames.length > before + 1);
    assert.ok(source.isFresh());
    assert.equal(logged.filter((line) => line.includes('"camera-lost"')).length, 1);
    assert.equal(logged.filter((line) => line.includes('"camera-back"')).length, 1);
  });
});

test("more bytes than a frame may have, an answer that hangs and one that leads elsewhere are refused, and nothing is held", async () => {
  await withCamera({ source: { timeoutMs: 200 } }, async ({ server, frames, logged }) => {
    await until("a picture", () => frames.length > 0);
    const chunk = Buffer.alloc(1024 * 1024);
    server.state.answer = async (response) => {
      for (let sent = 0; sent <= FRAME_LIMIT_BYTES && !response.destroyed; sent += chunk.length) {
        if (!response.write(chunk)) await new Promise((go) => setTimeout(go, 1));
      }
      response.end();
    };
    await until("the refusal", () => logged.some((line) => line.includes("frame-too-large") || line.includes("camera-unreachable")));
    server.state.answer = () => undefined; // no answer at all
    const asked = server.state.asked;
    await until("the next try", () => server.state.asked > asked + 1);
    server.state.answer = (response) => response.writeHead(302, { location: "/elsewhere" }).end();
    const before = server.state.asked;
    await until("another try", () => server.state.asked > before + 1);
    assert.equal(server.state.elsewhere, 0);
  });
});

test("a trigger gets a picture taken after it, at once, under its own id; without one in time its frame is missing", async () => {
  await withCamera({ triggered: true, deadlineMs: 400, source: { intervalMs: 60_000 } }, async ({ server, source, frames }) => {
    await until("the first look", () => server.state.asked === 1);
    assert.equal(frames.length, 0); // nobody asked
    const ask = (id: string) => source.ask({ id, at: performance.now(), since: performance.now() });
    ask("part-17");
    await until("the part's frame", () => frames.length === 1);
    assert.equal(frames[0]?.triggerId, "part-17");
    assert.equal(Buffer.from(frames[0]?.bytes ?? []).toString(), "picture 2");
    server.state.answer = () => undefined;
    ask("part-18");
    await until("an answer all the same", () => frames.length === 2);
    assert.deepEqual([frames[1]?.triggerId, frames[1]?.bytes, frames[1]?.unseen], ["part-18", null, "frame-missing"]);
  });
});

type Options = { source?: Record<string, unknown>; [key: string]: unknown };
type Parts = {
  server: Awaited<ReturnType<typeof startCamera>>;
  source: ReturnType<typeof openSource>;
  frames: Frame[];
  logged: string[];
};

async function withCamera({ source: own, ...camera }: Options, work: (parts: Parts) => Promise<void>): Promise<void> {
  const server = await startCamera();
  const frames: Frame[] = [];
  const logged: string[] = [];
  const source = openSource({
    camera: Camera.parse({
      name: "line",
      ...camera,
      source: { kind: "snapshot", url: server.url, intervalMs: 30, timeoutMs: 1000, ...own },
    }),
    onFrame: async (frame) => {
      frames.push(frame);
      return null;
    },
    onRemoved: () => undefined,
    isPaused: () => false,
    turn: new OpeningTurn(),
    random: () => 0,
    log: pino({ level: "info" }, { write: (line: string) => logged.push(line) }),
  });
  source.start();
  try {
    await work({ server, source, frames, logged });
  } finally {
    await source.stop();
    await server.close();
  }
}

async function startCamera() {
  const state = {
    asked: 0,
    elsewhere: 0,
    authorization: "" as string | undefined,
    answer: null as ((response: ServerResponse) => unknown) | null,
  };
  const server = createServer((request, response) => {
    state.authorization = request.headers.authorization;
    if (request.url === "/elsewhere") state.elsewhere++;
    state.asked++;
    if (state.answer) state.answer(response);
    else response.end(`picture ${state.asked}`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}/picture.jpg`;
  return {
    url,
    state,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
