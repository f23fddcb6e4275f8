/** Cameras read by programs of their own: a real RTSP server through ffmpeg, a GStreamer pipeline, and programs that misbehave. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Camera } from "@kenpin/schema";
import { pino } from "pino";
import sharp from "sharp";
import { rtspProgram, usbProgram } from "../../../edge-agent/src/capture/ffmpeg.ts";
import { pipelineArguments } from "../../../edge-agent/src/capture/gstreamer.ts";
import { OpeningTurn } from "../../../edge-agent/src/capture/opening-turn.ts";
import { openSource } from "../../../edge-agent/src/capture/open-source.ts";
import type { Source } from "../../../edge-agent/src/capture/source.ts";
import type { Frame } from "../../../edge-agent/src/frame.ts";
import { CameraWatch } from "../../../edge-agent/src/watch/camera-watch.ts";
import { LOGIN, startRtsp, withoutGstreamer, withoutRtsp } from "../../support/rtsp.ts";
import { until } from "../edge-site.ts";

type Opened = { source: Source; frames: Frame[]; logged: string[] };

test("an RTSP camera with a login gives pictures, is lost and comes back, and nothing logged holds its password", {
  skip: withoutRtsp,
}, async () => {
  const server = await startRtsp();
  process.env["TEST_RTSP_PASSWORD"] = LOGIN.password;
  const login = { username: LOGIN.username, passwordEnv: "TEST_RTSP_PASSWORD" };
  try {
    await withSource({ staleMs: 1000 }, { kind: "rtsp", url: server.url, login, silenceMs: 3000 }, async ({ source, frames, logged }) => {
      await until("five pictures", () => frames.length >= 5);
      const { width, height } = await sharp(frames[0]?.bytes as Uint8Array).metadata();
      assert.deepEqual([width, height], [96, 64]);
      assert.ok(source.isFresh());
      assert.ok(new Set(frames.map(({ sha256 }) => sha256)).size > 2, "the picture moves");
      server.order("stop");
      await until("the camera to be lost", () => logged.some((line) => line.includes("camera-lost")));
      await until("the camera to be stale", () => !source.isFresh());
      server.order("start");
      const before = frames.length;
      await until("pictures again", () => frames.length > before + 3);
      assert.ok(logged.some((line) => line.includes("camera-back")));
      assertNoSecret(logged);
    });
    await withSource(
      {},
      { kind: "rtsp", url: server.url.replace("//", "//kenpin:wrong%2Fsecret@"), silenceMs: 3000 },
      async ({ logged }) => {
        await until("the refusal", () => logged.some((line) => line.includes("camera-lost")));
        assert.ok(
          logged.every((line) => !line.includes("wrong%2Fsecret") && !line.includes("wrong/secret")),
          logged.join(""),
        );
        assert.match(logged.join(""), /401/);
      },
    );
  } finally {
    await server.close();
  }
});

test("a trigger gets a stream's first picture after it, and pictures nobody asked for are not looked at", {
  skip: withoutRtsp,
}, async () => {
  const server = await startRtsp();
  process.env["TEST_RTSP_PASSWORD"] = LOGIN.password;
  const login = { username: LOGIN.username, passwordEnv: "TEST_RTSP_PASSWORD" };
  try {
    await withSource({ triggered: true }, { kind: "rtsp", url: server.url, login }, async ({ source, frames }) => {
      await until("the camera to be fresh", () => source.isFresh());
      assert.equal(frames.length, 0);
      const at = performance.now();
      source.ask({ id: "part-1", at, since: at });
      await until("the part's frame", () => frames.length === 1);
      assert.equal(frames[0]?.triggerId, "part-1");
      assert.ok((source.pictureAt() ?? 0) > at);
    });
  } finally {
    await server.close();
  }
});

test("a stream that shows one and the same picture for ever is told as frozen", { skip: withoutRtsp }, async () => {
  const server = await startRtsp();
  process.env["TEST_RTSP_PASSWORD"] = LOGIN.password;
  const login = { username: LOGIN.username, passwordEnv: "TEST_RTSP_PASSWORD" };
  try {
    await withSource({}, { kind: "rtsp", url: server.url, login, silenceMs: 3000, framesPerSecond: 10 }, async ({ frames }) => {
      await until("moving pictures", () => frames.length >= 5);
      const watch = new CameraWatch();
      assert.ok(frames.every((frame) => watch.judge(frame, null) === null));
      server.order("freeze");
      await until("a frozen camera", () => frames.splice(0).some((frame) => watch.judge(frame, null) === "camera-frozen"));
    });
  } finally {
    await server.close();
  }
});

test("a GStreamer pipeline gives pictures", { skip: withoutGstreamer }, async () => {
  const pipeline = "videotestsrc is-live=true pattern=snow ! video/x-raw,width=40,height=30,framerate=10/1 ! pngenc";
  await withSource({}, { kind: "gstreamer", pipeline }, async ({ frames }) => {
    await until("three pictures", () => frames.length >= 3);
    const { width, height, format } = await sharp(frames[0]?.bytes as Uint8Array).metadata();
    assert.deepEqual([width, height, format], [40, 30, "png"]);
  });
});

test("a program that falls silent, says something else or is not there is ended and tried again", async () => {
  await withProgram("sleep 60", async (command, pids) => {
    await withSource({}, { kind: "gstreamer", pipeline: "x", command, silenceMs: 500 }, async ({ logged }) => {
      await until("it to be started twice", async () => (await pids()).length >= 2);
      assert.match(logged.join(""), /gave no picture for 500 ms/);
    });
    for (const pid of await pids()) assert.ok(!isAlive(pid), `process ${pid} was left behind`);
  });
  await withProgram("echo 'this is no picture'", async (command) => {
    await withSource({}, { kind: "gstreamer", pipeline: "x", command }, async ({ logged }) => {
      await until("a complaint", () => logged.some((line) => line.includes("neither JPEG nor PNG")));
    });
  });
  await withSource({}, { kind: "gstreamer", pipeline: "x", command: "/nowhere/gst-launch-1.0" }, async ({ logged }) => {
    await until("a complaint", () => logged.some((line) => line.includes("is not installed")));
  });
});

test("two cameras are opened one after another", async () => {
  await withProgram("sleep 60", async (command, pids) => {
    const turn = new OpeningTurn();
    const source = { kind: "gstreamer", pipeline: "x", command, silenceMs: 700 };
    await withSource(
      {},
      source,
      async () => {
        await withSource(
          {},
          source,
          async () => {
            await until("the first to be started", async () => (await pids()).length === 1);
            await sleep(300);
            assert.equal((await pids()).length, 1);
            await until("the second to be started", async () => (await pids()).length === 2);
            const [first] = await pids();
            assert.ok(!isAlive(first as number), "the first one's attempt had ended");
          },
          turn,
        );
      },
      turn,
    );
  });
});

test("a program is given no password of the agent's in its environment, and its arguments pass no shell", async () => {
  process.env["TEST_SECRET_OF_THE_AGENT"] = "hush";
  await withProgram('env > $0.env; echo "$@" > $0.args; sleep 60', async (command) => {
    await withSource({}, { kind: "gstreamer", pipeline: "a ! b name='x y; touch /tmp/no' $(id)", command }, async () => {
      await until("its arguments", () => readOrEmpty(`${command}.args`) !== "");
      assert.ok(!readOrEmpty(`${command}.env`).includes("hush"));
      assert.equal(readOrEmpty(`${command}.args`).trim(), "-q a ! b name=x y; touch /tmp/no $(id) ! fdsink fd=1 sync=false");
    });
  });
});

test("ffmpeg is asked for what the configuration says", async () => {
  const of = (source: object) => Camera.parse({ name: "line", source }).source;
  const usb = of({ kind: "usb", device: "/dev/video0", width: 640, height: 480, pixels: "mjpeg", framesPerSecond: 5, picture: "png" });
  assert.ok(usb.kind === "usb");
  assert.equal(
    (await usbProgram(usb)).args.join(" "),
    "-nostdin -hide_banner -loglevel error -f v4l2 -input_format mjpeg -video_size 640x480 -i /dev/video0 -map 0:v:0 -an -vf select=isnan(prev_selected_t)+gte(t-prev_selected_t\\,0.1800) -fps_mode passthrough -c:v png -f image2pipe pipe:1",
  );
  await withProgram("echo 'ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright'", async (command) => {
    assert.ok((await usbProgram({ ...usb, command })).args.join(" ").includes("-vsync passthrough"));
  });
  process.env["TEST_RTSP_PASSWORD"] = LOGIN.password;
  const rtsp = of({
    kind: "rtsp",
    url: "rtsp://10.0.0.7/live",
    login: { username: "u", passwordEnv: "TEST_RTSP_PASSWORD" },
    transport: "udp",
  });
  assert.ok(rtsp.kind === "rtsp");
  const { args } = await rtspProgram(rtsp);
  const address = new URL(args[args.indexOf("-i") + 1] as string);
  assert.deepEqual([address.username, decodeURIComponent(address.password), address.host], ["u", LOGIN.password, "10.0.0.7"]);
  assert.equal(args[args.indexOf("-rtsp_transport") + 1], "udp");
  for (const device of ["/etc/passwd", "/dev/video0 -i /etc/passwd", "-i"]) {
    assert.throws(() => of({ kind: "usb", device }), device);
  }
});

test("a pipeline is cut into words as a shell would, and a quote left open is refused", () => {
  assert.deepEqual(pipelineArguments(`a b="c d"  e='f "g"' h\\ i`), ["a", "b=c d", 'e=f "g"', "h i"]);
  assert.deepEqual(pipelineArguments(`"video/x-raw(memory:NVMM), width=(int)1280" ! x`), [
    "video/x-raw(memory:NVMM), width=(int)1280",
    "!",
    "x",
  ]);
  assert.throws(() => pipelineArguments(`a "b`), /quote/);
});

function assertNoSecret(logged: readonly string[]): void {
  const shown = logged.join("");
  for (const form of [LOGIN.password, encodeURIComponent(LOGIN.password)]) assert.ok(!shown.includes(form), shown);
}

async function withSource(
  camera: object,
  source: object,
  work: (opened: Opened) => Promise<void>,
  turn = new OpeningTurn(),
): Promise<void> {
  const frames: Frame[] = [];
  const logged: string[] = [];
  const opened = openSource({
    camera: Camera.parse({ name: "line", ...camera, source }),
    onFrame: async (frame) => {
      frames.push(frame);
      return null;
    },
    onRemoved: () => undefined,
    isPaused: () => false,
    turn,
    random: () => 0,
    log: pino({ level: "info" }, { write: (line: string) => logged.push(line) }),
  });
  opened.start();
  try {
    await work({ source: opened, frames, logged });
  } finally {
    await opened.stop();
  }
}

/** A program in a camera's program's place: a shell script, which notes its process id. */
async function withProgram(script: string, work: (command: string, pids: () => Promise<number[]>) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-program-"));
  const command = join(folder, "program");
  await writeFile(command, `#!/bin/sh\necho $$ >> $0.pids\n${script.startsWith("sleep") ? "exec " : ""}${script}\n`);
  await chmod(command, 0o755);
  try {
    await work(command, async () => readOrEmpty(`${command}.pids`).split("\n").filter(Boolean).map(Number));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
