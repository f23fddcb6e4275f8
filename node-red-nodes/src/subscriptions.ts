/**
 * The link's MQTT side: one connection, opened when the first node listens, and for each kind of message one subscription that all
 * nodes share. Whoever listens later is told what was retained. A listener that fails is reported and costs the others nothing.
 */
import { connectLink, type Link, type LinkOptions } from "@kenpin/messaging";
import { TOPIC_ROOT } from "@kenpin/schema";
import { type PeerState, Shown } from "./peer.ts";

const KINDS = {
  verdict: "verdict/+",
  sample: "sample/+",
  drift: "drift/+",
  status: "status",
  reported: "bundle/reported",
  desired: "bundle/desired",
} as const;
export type Kind = keyof typeof KINDS;
export type Listener = (topic: string, payload: unknown) => void;
export type BrokerOptions = Pick<LinkOptions, "url" | "clientId" | "username" | "password" | "tls"> & {
  /** Narrow what is subscribed to; all of them where left out. */
  site?: string | undefined;
  agent?: string | undefined;
};

const RETAINED: readonly Kind[] = ["drift", "status", "reported", "desired"];
/** Thousands of agents with some cameras each; past that the oldest is forgotten. */
const RETAINED_LIMIT = 20_000;
/** How a connection's end is told that no error came before. */
const CLOSED = "the broker is away";
/** A node that just came into being has its wires by then. */
const REPLAY_MS = 50;

export class Subscriptions {
  readonly #options: BrokerOptions | null;
  readonly #onFault: (error: unknown) => void;
  readonly #listeners = new Map<Kind, Set<Listener>>();
  readonly #retained = new Map<string, { kind: Kind; payload: unknown }>();
  readonly #shown: Shown;
  #link: Link | null = null;

  constructor(options: BrokerOptions | null, onFault: (error: unknown) => void) {
    this.#options = options;
    this.#onFault = onFault;
    this.#shown = new Shown(options ? "connecting" : "unset");
  }

  watch(listener: (state: PeerState) => void): () => void {
    this.#open();
    return this.#shown.watch(listener);
  }

  hear(kind: Kind, listener: Listener): () => void {
    const known = this.#listeners.get(kind);
    const listeners = known ?? new Set();
    this.#listeners.set(kind, listeners);
    listeners.add(listener);
    if (!known) this.#subscribe(kind);
    const replay = setTimeout(() => this.#replay(kind, listener), known ? REPLAY_MS : 0);
    return () => {
      clearTimeout(replay);
      listeners.delete(listener);
    };
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    await this.#link?.close();
  }

  #open(): Link | null {
    if (!this.#options || this.#link) return this.#link;
    const { url, clientId, username, password, tls } = this.#options;
    this.#link = connectLink({
      url,
      clientId,
      username,
      password,
      tls,
      onState: (state, detail) => this.#tellState(state, detail),
    });
    return this.#link;
  }

  /** A refusal is followed by the end of the connection, which says nothing new. */
  #tellState(state: "connected" | "away", detail: string): void {
    if (state === "connected") this.#shown.set("connected");
    else if (isRefusal(detail)) this.#shown.set("refused");
    else if (detail !== CLOSED || this.#shown.state !== "refused") this.#shown.set("away");
  }

  #subscribe(kind: Kind): void {
    const { site = "+", agent = "+" } = this.#options ?? {};
    this.#open()?.subscribe(`${TOPIC_ROOT}/${site}/${agent}/${KINDS[kind]}`, (topic, payload, raw) => {
      if (raw.length === 0) return void this.#retained.delete(topic); // somebody took back what was retained
      if (RETAINED.includes(kind)) this.#keep(topic, { kind, payload });
      for (const listener of this.#listeners.get(kind) ?? []) this.#tell(listener, topic, payload);
    });
  }

  #keep(topic: string, message: { kind: Kind; payload: unknown }): void {
    this.#retained.delete(topic);
    this.#retained.set(topic, message);
    const [oldest] = this.#retained.keys();
    if (oldest !== undefined && this.#retained.size > RETAINED_LIMIT) this.#retained.delete(oldest);
  }

  #replay(kind: Kind, listener: Listener): void {
    for (const [topic, message] of this.#retained) if (message.kind === kind) this.#tell(listener, topic, message.payload);
  }

  #tell(listener: Listener, topic: string, payload: unknown): void {
    try {
      listener(topic, payload);
    } catch (error) {
      this.#onFault(error);
    }
  }
}

/** What brokers say to somebody with the wrong login or without leave to listen. */
function isRefusal(detail: string): boolean {
  return /not authorized|bad user ?name|refused the subscription|banned/i.test(detail);
}
