/** Which source a camera's configuration asks for, made but not started. */
import { KenpinError } from "@kenpin/schema";
import type { Frame } from "../frame.ts";
import { childFeed, type Program } from "./child-feed.ts";
import { rtspProgram, usbProgram } from "./ffmpeg.ts";
import { gstreamerProgram } from "./gstreamer.ts";
import { LiveCamera } from "./live-camera.ts";
import type { OpeningTurn } from "./opening-turn.ts";
import { PushedFrames } from "./pushed-frames.ts";
import { snapshotFeed } from "./snapshot.ts";
import type { Source, SourceOptions } from "./source.ts";
import { WatchedFolder } from "./watched-folder.ts";

export type OpeningOptions = SourceOptions & {
  /** Told once the file of an answered frame is gone. */
  onRemoved: (frame: Frame) => void;
  /** Shared by the agent's cameras. */
  turn: OpeningTurn;
  random: () => number;
};

export function openSource(options: OpeningOptions): Source {
  const { source } = options.camera;
  switch (source.kind) {
    case "folder":
      return new WatchedFolder({ ...options, path: source.path });
    case "push":
      return new PushedFrames(options);
    case "snapshot":
      return new LiveCamera({ ...options, feed: snapshotFeed(source), intervalMs: source.intervalMs });
    case "rtsp":
      return stream(options, source, () => rtspProgram(source));
    case "usb":
      return stream(options, source, () => usbProgram(source));
    case "gstreamer":
      return stream(options, source, () => gstreamerProgram(source));
  }
}

function stream(
  options: OpeningOptions,
  source: { silenceMs: number; framesPerSecond?: number | undefined },
  program: () => Promise<Program>,
): Source {
  const intervalMs = source.framesPerSecond === undefined ? 0 : 1000 / source.framesPerSecond;
  return new LiveCamera({ ...options, feed: childFeed({ program, silenceMs: source.silenceMs }), intervalMs });
}

/** The pushed camera of this name, or why there is none. */
export function pushedCamera(sources: ReadonlyMap<string, Source>, name: string): PushedFrames {
  const source = sources.get(name);
  if (source instanceof PushedFrames) return source;
  const known = [...sources].flatMap(([camera, one]) => (one instanceof PushedFrames ? [camera] : []));
  throw new KenpinError("unknown-camera", `frames can be pushed to ${known.join(", ") || "no camera here"}, not to "${name.slice(0, 64)}"`);
}
