/** Which source a camera's configuration asks for, made but not started. */
import { type Camera, KenpinError, type SnapshotSource } from "@kenpin/schema";
import type { Frame } from "../frame.ts";
import { childFeed, type Program } from "./child-feed.ts";
import { rtspProgram, usbProgram } from "./ffmpeg.ts";
import { gstreamerProgram } from "./gstreamer.ts";
import { type Feed, LiveCamera } from "./live-camera.ts";
import type { OpeningTurn } from "./opening-turn.ts";
import { PushedFrames } from "./pushed-frames.ts";
import { snapshotFeed } from "./snapshot.ts";
import type { Source, SourceOptions } from "./source.ts";
import { WatchedFolder } from "./watched-folder.ts";

export type LiveSource = Exclude<Camera["source"], { kind: "folder" | "push" }>;
export type OpeningOptions = SourceOptions & {
  /** Told once the file of an answered frame is gone. */
  onRemoved: (frame: Frame) => void;
  /** Shared by the agent's cameras. */
  turn: OpeningTurn;
  random: () => number;
};

export function openSource(options: OpeningOptions): Source {
  const { source } = options.camera;
  if (source.kind === "folder") return new WatchedFolder({ ...options, path: source.path });
  if (source.kind === "push") return new PushedFrames(options);
  return new LiveCamera({ ...options, ...feedOf(source) });
}

/** How a live camera is opened, and the time between its pictures. */
export function feedOf(source: LiveSource): { feed: Feed; intervalMs: number } {
  if (source.kind === "snapshot") return { feed: snapshotFeed(source), intervalMs: source.intervalMs };
  const feed = childFeed({ program: () => programOf(source), silenceMs: source.silenceMs });
  const paced = "framesPerSecond" in source && source.framesPerSecond !== undefined;
  return { feed, intervalMs: paced ? 1000 / (source.framesPerSecond as number) : 0 };
}

function programOf(source: Exclude<LiveSource, SnapshotSource>): Promise<Program> {
  switch (source.kind) {
    case "rtsp":
      return rtspProgram(source);
    case "usb":
      return usbProgram(source);
    case "gstreamer":
      return gstreamerProgram(source);
  }
}

/** The pushed camera of this name, or why there is none. */
export function pushedCamera(sources: ReadonlyMap<string, Source>, name: string): PushedFrames {
  const source = sources.get(name);
  if (source instanceof PushedFrames) return source;
  const known = [...sources].flatMap(([camera, one]) => (one instanceof PushedFrames ? [camera] : []));
  throw new KenpinError("unknown-camera", `frames can be pushed to ${known.join(", ") || "no camera here"}, not to "${name.slice(0, 64)}"`);
}
