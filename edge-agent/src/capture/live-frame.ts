/**
 * A Frame of what a camera gave without a file, or of nothing where nothing came in time.
 * In: the bytes and the name they go by. Out: a Frame whose deadline counts from when it was asked for, else from when it came.
 */
import { createHash } from "node:crypto";
import type { Camera, UnknownReason } from "@kenpin/schema";
import type { Frame } from "../frame.ts";

export type Delivery = {
  /** The name it goes by and since when; null for a frame that the camera took by itself. */
  trigger: { id: string; since: number } | null;
  isAsked: boolean;
  /** null where `unseen` says why there is no picture. */
  bytes: Uint8Array | null;
  unseen?: UnknownReason;
};

const NOTHING = createHash("sha256").digest("hex");
let delivered = 0;

export function liveFrame(camera: Camera, { trigger, isAsked, bytes, unseen = "frame-unreadable" }: Delivery): Frame {
  const now = performance.now();
  const capturedAt = new Date();
  const count = ++delivered;
  return {
    camera,
    file: null,
    triggerId: trigger?.id ?? `${camera.name}-${capturedAt.getTime().toString(36)}-${count}`,
    isAsked,
    sha256: bytes ? createHash("sha256").update(bytes).digest("hex") : NOTHING,
    bytes,
    unseen,
    modifiedNs: `${BigInt(capturedAt.getTime()) * 1_000_000n + BigInt(count % 1_000_000)}`,
    inode: "",
    capturedAt,
    takenAt: trigger?.since ?? now,
  };
}
