/**
 * What every kind of camera looks like to the agent: started, stopped, paused, asked for a frame, and counted.
 * Frames leave it through `onFrame`, one at a time a camera; all else about a kind stays in its own file.
 */
import type { Camera, CameraCounts, Verdict } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Frame } from "../frame.ts";

/** Asks a camera for the first picture that it takes from `at` on; the deadline runs from `since`. Both performance.now(). */
export type Trigger = { id: string; at: number; since: number };

export type Source = {
  start: () => void;
  /** Finishes the frame in hand. */
  stop: () => Promise<void>;
  /** Looks again now; for whoever lifted a pause. */
  wake: () => void;
  /** The frame that comes of it is answered under the trigger's id, also where none comes in time. False where this kind cannot be asked. */
  ask: (trigger: Trigger) => boolean;
  counts: () => CameraCounts;
  /** Whether pictures come as they should; a folder or a door that is there is fresh. */
  isFresh: () => boolean;
  /** performance.now() of the last picture; null where pictures come only when there is a part, as files and pushes do. */
  pictureAt: () => number | null;
};

export type SourceOptions = {
  camera: Camera;
  /** Answers the frame, unless it had its verdict before (null); when it throws, the frame is tried again. */
  onFrame: (frame: Frame) => Promise<Verdict | null>;
  isPaused: () => boolean;
  log: Logger;
};

/** Folders and pushes name each part themselves; of a live picture the newest is the one that counts. */
export function orderOf({ queue, source }: Camera): "newest-first" | "every-frame" {
  return queue.order ?? (source.kind === "folder" || source.kind === "push" ? "every-frame" : "newest-first");
}
