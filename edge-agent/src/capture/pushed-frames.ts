/**
 * A camera whose pictures somebody sends to the agent's door. In: bytes with the trigger id they were sent under. Out: Frames through a
 * bounded queue. Whoever sends is told once the verdict is on the disk, so a frame that was not answered can be sent again.
 */
import type { CameraCounts } from "@kenpin/schema";
import { FrameQueue, type Outcome } from "./frame-queue.ts";
import { liveFrame } from "./live-frame.ts";
import { orderOf, type Source, type SourceOptions } from "./source.ts";

export type PushAnswer = Outcome | { shed: "camera-paused" };

export class PushedFrames implements Source {
  #options: SourceOptions;
  #queue: FrameQueue;
  /** Pictures whose bytes are on their way: they need room too. */
  #arriving = 0;

  constructor(options: SourceOptions) {
    const { camera, onFrame, log } = options;
    this.#options = options;
    this.#queue = new FrameQueue({ camera: camera.name, order: orderOf(camera), frames: camera.queue.frames, onFrame, log });
  }

  start(): void {
    this.#queue.start();
  }

  async stop(): Promise<void> {
    await this.#queue.stop();
  }

  wake(): void {
    // pictures come by themselves
  }

  ask(): boolean {
    return false;
  }

  counts(): CameraCounts {
    return { ...this.#queue.counts, waiting: this.#queue.waiting };
  }

  isFresh(): boolean {
    return true;
  }

  pictureAt(): null {
    return null;
  }

  /** `read` brings the picture; it is not asked where there would be no room for it. */
  async push(triggerId: string, read: () => Promise<Uint8Array>): Promise<PushAnswer> {
    const { camera, isPaused } = this.#options;
    if (isPaused()) return { shed: "camera-paused" };
    const waiting = orderOf(camera) === "every-frame" ? this.#queue.waiting : 0;
    if (waiting + this.#arriving >= camera.queue.frames) return this.#queue.refuse();
    this.#arriving++;
    const bytes = await read().finally(() => {
      this.#arriving--;
    });
    // Whoever sends it is told when it was let go of, so a newer one may overtake it where that is the order.
    return this.#queue.offer(liveFrame(camera, { trigger: { id: triggerId, since: performance.now() }, isAsked: false, bytes }));
  }
}
