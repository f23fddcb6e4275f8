/**
 * The outbox's way to the hub: rows → MQTT, oldest first, and the hub's acks back.
 * Where a backlog waits, what is new takes turns with it, so that a line's verdicts of now need not wait for those of three days;
 * both lanes are one again once the backlog has reached what went out beside it. The hub orders by (bootId, seq), not by arrival.
 * A broker's PUBACK (MQTT 5, 4.3.2) only frees an in-flight slot. Rows are published again after a reconnect, after a restart,
 * and when no ack has come for a while; never more than WINDOW of them are out, so a hub that is away is not flooded.
 * Retained messages (status, bundle/reported) are published again on every connect, since a broker may have lost them.
 */
import type { Link } from "@kenpin/messaging";
import { Ack, type agentTopics, errorLine } from "@kenpin/schema";
import type { Logger } from "pino";

/** The outbox, as far as reporting needs it. */
export type Backlog = {
  readonly count: number;
  /** Id of the newest row; 0 where there is none. */
  newest: () => number;
  after: (id: number, limit: number) => { id: number; kind: "verdict" | "sample"; camera: string; payload: string }[];
  waitingUpTo: (id: number) => number;
  acknowledge: (ack: Ack) => number;
};
export type ReporterOptions = {
  link: Link;
  topics: ReturnType<typeof agentTopics>;
  backlog: Backlog;
  /** Told when rows came, and after every connect. */
  onChange: () => void;
  /** Told what the hub has reached. */
  onAck: (ack: Ack) => void;
  log: Logger;
  firstRetryMs?: number;
};

type Row = ReturnType<Backlog["after"]>[number];

const IN_FLIGHT = 16;
const WINDOW = 512;
const FIRST_RETRY_MS = 5000;
const LONGEST_RETRY_MS = 60_000;

export class Reporter {
  #options: ReporterOptions;
  #retained = new Map<string, unknown>();
  /** The last row published since the connection was made or the patience ran out. */
  #cursor = 0;
  #out = 0;
  /** Rows up to this one are the backlog; newer ones go out beside it, up to `last`. null while one lane is enough. */
  #live: { from: number; last: number; out: number } | null = null;
  #isLiveTurn = false;
  #inFlight = 0;
  /** Publishes of an earlier connection settle late; they count no more. */
  #connection = 0;
  #retryMs: number;
  #retry: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#retryMs = options.firstRetryMs ?? FIRST_RETRY_MS;
    options.link.subscribe(options.topics.ack, (_topic, payload) => this.#acknowledge(payload));
    options.link.onConnect(() => this.#onConnect());
  }

  /** Publishes what is new; cheap to call after every commit. */
  wake(): void {
    this.#options.onChange();
    this.#pump();
  }

  /** Resolves once the broker took it, or at once while it is away. */
  async retain(topic: string, payload: unknown): Promise<void> {
    this.#retained.set(topic, payload);
    await this.#publish(topic, payload, true);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#retry) clearTimeout(this.#retry);
  }

  #onConnect(): void {
    this.#connection++;
    this.#inFlight = 0;
    this.#fromTheStart();
    for (const [topic, payload] of this.#retained) void this.#publish(topic, payload, true);
    this.wake();
  }

  #pump(): void {
    const room = IN_FLIGHT - this.#inFlight;
    if (this.#stopped || !this.#options.link.connected || room <= 0) return;
    const live = this.#takeLive(room);
    for (const row of [...live, ...this.#takeOldest(room - live.length)]) void this.#send(row);
    if (this.#out > 0 || live.length > 0) this.#beginPatience();
  }

  /** Half of the room, every other time where there is room for one. */
  #takeLive(room: number): Row[] {
    const live = this.#live;
    if (!live) return [];
    this.#isLiveTurn = !this.#isLiveTurn;
    const share = Math.floor((room + Number(this.#isLiveTurn)) / 2);
    const rows = this.#options.backlog.after(live.last, Math.max(0, Math.min(share, WINDOW - live.out)));
    live.last = rows.at(-1)?.id ?? live.last;
    live.out += rows.length;
    return rows;
  }

  #takeOldest(room: number): Row[] {
    const most = Math.min(room, WINDOW - this.#out);
    if (most <= 0) return [];
    const { backlog } = this.#options;
    const found = backlog.after(this.#cursor, most);
    const rows = this.#live ? found.filter(({ id }) => id <= (this.#live?.from as number)) : found;
    this.#cursor = rows.at(-1)?.id ?? this.#cursor;
    this.#out += rows.length;
    if (this.#live && rows.length < most) this.#join(this.#live.last);
    return rows;
  }

  /** The backlog has reached what went out beside it. */
  #join(last: number): void {
    this.#live = null;
    this.#cursor = Math.max(this.#cursor, last);
    this.#out = this.#options.backlog.waitingUpTo(this.#cursor);
  }

  async #send({ kind, camera, payload }: Row): Promise<void> {
    const connection = this.#connection;
    this.#inFlight++;
    await this.#publish(this.#options.topics[kind](camera), JSON.parse(payload), false);
    if (connection !== this.#connection) return;
    this.#inFlight--;
    this.#pump();
  }

  async #publish(topic: string, payload: unknown, retain: boolean): Promise<void> {
    const { link, log } = this.#options;
    if (!link.connected) return; // kept, and sent on connect
    try {
      await link.publish(topic, payload, { retain });
    } catch (error) {
      log.debug({ topic, why: errorLine(error) }, "publish-failed");
    }
  }

  #acknowledge(payload: unknown): void {
    const { log, onAck } = this.#options;
    const ack = Ack.safeParse(payload);
    if (!ack.success) {
      log.warn({ why: ack.error.issues[0]?.message }, "ack-malformed");
      return;
    }
    const freed = this.#free(ack.data);
    onAck(ack.data);
    if (freed === 0) return;
    this.#out = this.#options.backlog.waitingUpTo(this.#cursor);
    if (this.#live) this.#live.out = 0; // the hub is there; it holds them until the backlog has come up to them
    this.#retryMs = this.#options.firstRetryMs ?? FIRST_RETRY_MS;
    this.#endPatience();
    this.#pump();
    if (this.#out > 0) this.#beginPatience();
  }

  /** A disk that is full for a while must not end the agent: the rows stay, and the hub's next ack frees them. */
  #free(ack: Ack): number {
    const { backlog, log } = this.#options;
    try {
      return backlog.acknowledge(ack);
    } catch (error) {
      log.error({ why: errorLine(error) }, "ack-not-stored");
      return 0;
    }
  }

  #beginPatience(): void {
    if (this.#retry || this.#stopped) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
      this.#options.log.info({ rows: this.#options.backlog.count }, "no-ack-sending-again");
      this.#fromTheStart();
      this.#pump();
    }, this.#retryMs);
  }

  #endPatience(): void {
    if (this.#retry) clearTimeout(this.#retry);
    this.#retry = null;
  }

  #fromTheStart(): void {
    const newest = this.#options.backlog.newest();
    this.#cursor = 0;
    this.#out = 0;
    this.#live = newest > 0 ? { from: newest, last: newest, out: 0 } : null;
    this.#endPatience();
  }
}
