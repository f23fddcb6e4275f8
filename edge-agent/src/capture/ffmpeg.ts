/**
 * How ffmpeg is asked for a camera's pictures: an RTSP stream or a USB camera in, JPEGs or PNGs one after another out. Argument arrays
 * only; nothing passes a shell. A login is put into the address at the last moment, since ffmpeg takes it nowhere else: other users of
 * the machine can read a process's arguments, so a line computer should have none.
 */
import type { RtspSource, UsbSource } from "@kenpin/schema";
import type { Program } from "./child-feed.ts";
import { readLogin, withLogin } from "./login.ts";

type Output = Pick<RtspSource, "framesPerSecond" | "picture">;

/** Of JPEG: 2 is the best that ffmpeg's encoder gives. */
const QUALITY = "2";

export async function rtspProgram(source: RtspSource): Promise<Program> {
  const login = await readLogin(source.login);
  const address = withLogin(source.url, login);
  const input = ["-rtsp_transport", source.transport, "-timeout", String(source.silenceMs * 1000), "-fflags", "nobuffer", "-i", address];
  const own = new URL(source.url);
  const secrets = [login?.password ?? "", decodeURIComponent(own.password), address];
  return { command: source.command, args: [...BEFORE, ...input, ...output(source)], secrets };
}

export async function usbProgram(source: UsbSource): Promise<Program> {
  const { device, command, width, height, pixels } = source;
  const size = width !== undefined && height !== undefined ? ["-video_size", `${width}x${height}`] : [];
  const format = pixels !== undefined ? ["-input_format", pixels] : [];
  return { command, args: [...BEFORE, "-f", "v4l2", ...format, ...size, "-i", device, ...output(source)], secrets: [] };
}

const BEFORE = ["-nostdin", "-hide_banner", "-loglevel", "error"];

function output({ framesPerSecond, picture }: Output): string[] {
  const paced = framesPerSecond !== undefined ? ["-vf", `fps=${framesPerSecond}`] : ["-fps_mode", "passthrough"];
  const codec = picture === "png" ? ["-c:v", "png"] : ["-c:v", "mjpeg", "-q:v", QUALITY];
  return ["-map", "0:v:0", "-an", ...paced, ...codec, "-f", "image2pipe", "pipe:1"];
}
