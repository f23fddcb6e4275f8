/** One frame in hand, from the moment the agent takes it up until it is answered and its file, if it has one, is gone. */
import type { Camera, UnknownReason } from "@kenpin/schema";

export type Frame = {
  camera: Camera;
  /** null where the camera gives frames without files: such a frame is gone with the agent. */
  file: string | null;
  triggerId: string;
  /** Whether somebody waits for the answer under this id; else the camera took it by itself, and a newer one may replace it. */
  isAsked: boolean;
  /** Of the bytes as the camera gave them, or of the region that is looked at. */
  sha256: string;
  /** null where there is nothing to look at, for the reason in `unseen`: it is answered, not inspected. */
  bytes: Uint8Array | null;
  unseen: UnknownReason;
  /** The file's time of change, or when it came, in nanoseconds; tells a new delivery of the same name from one left over. */
  modifiedNs: string;
  /** The file's inode number; with the time of change it tells a file renamed over this one. Empty without a file. */
  inode: string;
  capturedAt: Date;
  /** performance.now() when it was asked for or taken up; deadlines and totals count from here. */
  takenAt: number;
};
