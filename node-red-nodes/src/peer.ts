/**
 * Whether a hub or an agent is there: asked every few seconds while somebody wants to know, and told when it changes. What a link's
 * nodes show of it is in their status, so that a server that was killed shows without anybody having to ask it for something.
 */
import { KenpinError } from "@kenpin/schema";

/** unset: the link names none; refused: it is there and does not take the token. */
export type PeerState = "unset" | "connecting" | "connected" | "away" | "refused";

const EVERY_MS = 3000;
export const PULSE_TIMEOUT_MS = 4000;
const REFUSALS = ["token-unknown", "not-allowed", "not-signed-in"];

/** A state and those who are told of it, at once and whenever it changes. */
export class Shown {
  #state: PeerState;
  #listeners = new Set<(state: PeerState) => void>();

  constructor(state: PeerState) {
    this.#state = state;
  }

  get state(): PeerState {
    return this.#state;
  }

  get watched(): boolean {
    return this.#listeners.size > 0;
  }

  set(state: PeerState): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of this.#listeners) listener(state);
  }

  watch(listener: (state: PeerState) => void): () => void {
    this.#listeners.add(listener);
    listener(this.#state);
    return () => this.#listeners.delete(listener);
  }
}

export class Pulse {
  readonly #shown: Shown;
  readonly #ask: (() => Promise<unknown>) | null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  /** `ask` fails where nobody answers; null where there is nobody to ask. */
  constructor(ask: (() => Promise<unknown>) | null) {
    this.#ask = ask;
    this.#shown = new Shown(ask ? "connecting" : "unset");
  }

  watch(listener: (state: PeerState) => void): () => void {
    const leave = this.#shown.watch(listener);
    this.#timer ??= setTimeout(() => void this.#beat(), 0);
    return leave;
  }

  close(): void {
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
  }

  async #beat(): Promise<void> {
    const state = this.#ask ? await this.#ask().then(() => "connected" as const, stateOf) : "unset";
    if (this.#closed) return;
    this.#shown.set(state);
    this.#timer = this.#ask && this.#shown.watched ? setTimeout(() => void this.#beat(), EVERY_MS) : null;
  }
}

function stateOf(error: unknown): PeerState {
  return error instanceof KenpinError && REFUSALS.includes(error.code) ? "refused" : "away";
}
