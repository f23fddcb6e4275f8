/** One frame in hand, from the moment the agent takes it up until its file is gone. What the stages pass along. */
import type { Camera } from "@kenpin/schema";

export type Frame = {
  camera: Camera;
  file: string;
  triggerId: string;
  /** Of the bytes as the camera gave them. */
  sha256: string;
  /** null where the file is too large or cannot be read: it is answered, not inspected. */
  bytes: Uint8Array | null;
  /** The file's time of change in nanoseconds; tells a new file of the same name from one left over. */
  modifiedNs: string;
  /** The file's inode number; with the time of change it tells a file renamed over this one. */
  inode: string;
  capturedAt: Date;
  /** performance.now() when it was taken up; deadlines and totals count from here. */
  takenAt: number;
};
