/**
 * A real RTSP server (GStreamer's, rtsp-server.py beside this) on a free loopback port, with a login. Without it or without ffmpeg the
 * tests are skipped and say so.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Debian's own, which sees Debian's bindings. */
const PYTHON = "/usr/bin/python3";
const NEEDS = "ffmpeg gstreamer1.0-tools gstreamer1.0-plugins-good python3-gi gir1.2-gst-rtsp-server-1.0";
export const LOGIN = { username: "kenpin", password: "p@ss:w/rd-of-the-camera" };

/** The reason to skip a test that needs them, or false. */
const withoutFfmpeg: string | false = runs("ffmpeg", ["-version"]) ? false : "ffmpeg is not installed (Debian: apt install ffmpeg)";
export const withoutGstreamer: string | false = runs("gst-launch-1.0", ["--version"])
  ? false
  : `gst-launch-1.0 is not installed (Debian: apt install ${NEEDS})`;
export const withoutRtsp: string | false =
  !withoutFfmpeg && runs(PYTHON, ["-c", 'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer'])
    ? false
    : `no RTSP server and client (Debian: apt install ${NEEDS})`;

export type RtspServer = { url: string; order: (order: "stop" | "start" | "freeze") => void; close: () => Promise<void> };

export async function startRtsp(): Promise<RtspServer> {
  const script = join(import.meta.dirname, "rtsp-server.py");
  const child: ChildProcess = spawn(PYTHON, [script, LOGIN.username, LOGIN.password], { stdio: ["pipe", "pipe", "inherit"] });
  const [port] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), "line")) as [string];
  return {
    url: `rtsp://127.0.0.1:${port}/line`,
    order: (order) => child.stdin?.write(`${order}\n`),
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}

function runs(command: string, args: string[]): boolean {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}
