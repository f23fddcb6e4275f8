/**
 * Whether a station can be relied on, and its heartbeat. READY falls when the inspector or a camera has said nothing for too long, or
 * somebody paused one; the heartbeat goes on only when each camera has given a picture and the inspector a reply since it last did.
 * Nothing of it runs by a timer alone: an agent whose parts hang looks dead to the line, which is what it is.
 */
export type PulseOptions = {
  /** performance.now() of the last reply of the inspector's, or -Infinity. */
  repliedAt: () => number;
  /** Of the station's cameras. `pictureAt` is null where pictures come only with parts, as files and pushes do. */
  cameras: () => readonly { name: string; pictureAt: number | null; isFresh: boolean; isPaused: boolean }[];
  /** The inspector's silence that ends READY. */
  aliveMs: number;
  now: () => number;
};

/** A PLC's register. */
const HEARTBEAT_TURN = 65_536;

export class Pulse {
  #options: PulseOptions;
  #beats = 0;
  #beatAt = Number.NEGATIVE_INFINITY;

  constructor(options: PulseOptions) {
    this.#options = options;
  }

  /** Why the station is not ready; nothing where it is. */
  get faults(): string[] {
    const { repliedAt, cameras, aliveMs, now } = this.#options;
    const silent = now() - repliedAt() > aliveMs ? ["inspector-silent"] : [];
    return [
      ...silent,
      ...cameras().flatMap(({ name, isFresh, isPaused }) => (isPaused ? [`${name}-paused`] : isFresh ? [] : [`${name}-stale`])),
    ];
  }

  get isReady(): boolean {
    return this.faults.length === 0;
  }

  /** The heartbeat as it stands now, one further where everything has shown life since the last one. */
  beat(): number {
    const { repliedAt, cameras, now } = this.#options;
    const isAlive = repliedAt() > this.#beatAt && cameras().every(({ pictureAt }) => pictureAt === null || pictureAt > this.#beatAt);
    if (isAlive && this.isReady) {
      this.#beats = (this.#beats + 1) % HEARTBEAT_TURN;
      this.#beatAt = now();
    }
    return this.#beats;
  }
}
