/**
 * How ffmpeg is asked for a camera's pictures: an RTSP stream or a USB camera in, JPEGs or PNGs one after another out. Argument arrays
 * only; nothing passes a shell. A login is put into the address at the last moment, since ffmpeg takes it nowhere else: other users of
 * the machine can read a process's arguments, so a line computer should have none. No picture is ever shown twice: pictures that repeat
 * would look like a camera that froze.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { RtspSource, UsbSource } from "@kenpin/schema";
import type { Program } from "./child-feed.ts";
import { readLogin, withLogin } from "./login.ts";

type Output = Pick<RtspSource, "command" | "framesPerSecond" | "picture">;

/** Of JPEG: 2 is the best that ffmpeg's encoder gives. */
const QUALITY = "2";
const VERSION_MS = 5000;
const run = promisify(execFile);

export async function rtspProgram(source: RtspSource): Promise<Program> {
  const login = await readLogin(source.login);
  const address = withLogin(source.url, login);
  const input = ["-rtsp_transport", source.transport, "-fflags", "nobuffer", "-i", address];
  const own = new URL(source.url);
  const secrets = [login?.password ?? "", decodeURIComponent(own.password), address];
  return { command: source.command, args: [...BEFORE, ...input, ...(await output(source))], secrets };
}

export async function usbProgram(source: UsbSource): Promise<Program> {
  const { device, command, width, height, pixels } = source;
  const size = width !== undefined && height !== undefined ? ["-video_size", `${width}x${height}`] : [];
  const format = pixels !== undefined ? ["-input_format", pixels] : [];
  return { command, args: [...BEFORE, "-f", "v4l2", ...format, ...size, "-i", device, ...(await output(source))], secrets: [] };
}

const BEFORE = ["-nostdin", "-hide_banner", "-loglevel", "error"];

async function output({ command, framesPerSecond, picture }: Output): Promise<string[]> {
  // A little less than the interval, so that a picture that comes early by its jitter is not left out.
  const apart = framesPerSecond !== undefined ? (0.9 / framesPerSecond).toFixed(4) : null;
  const paced = apart !== null ? ["-vf", `select=isnan(prev_selected_t)+gte(t-prev_selected_t\\,${apart})`] : [];
  const codec = picture === "png" ? ["-c:v", "png"] : ["-c:v", "mjpeg", "-q:v", QUALITY];
  return ["-map", "0:v:0", "-an", ...paced, ...(await unrepeated(command)), ...codec, "-f", "image2pipe", "pipe:1"];
}

/** The option has its name since 5.1; Ubuntu 22.04, which a Jetson runs, has 4.4. */
async function unrepeated(command: string): Promise<string[]> {
  const { stdout } = await run(command, ["-version"], { timeout: VERSION_MS }).catch(() => ({ stdout: "" }));
  const [, major = "9", minor = "0"] = /^ffmpeg version n?(\d+)\.(\d+)/.exec(stdout) ?? [];
  const isOld = Number(major) < 5 || (Number(major) === 5 && Number(minor) < 1);
  return isOld ? ["-vsync", "passthrough"] : ["-fps_mode", "passthrough"];
}
