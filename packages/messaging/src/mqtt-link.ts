/**
 * One MQTT connection: version 5 where the broker speaks it, else 3.1.1; reconnects for ever with jittered backoff.
 * It is no queue: what must not be lost lives in the caller's store and is sent again until the hub acknowledges it.
 */
import { KenpinError } from "@kenpin/schema";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";

/** Whom to trust in place of the system's authorities, and who this client is. */
export type TlsMaterial = { ca?: string | undefined; cert?: string | undefined; key?: string | undefined };
type Will = { topic: string; payload: unknown };
export type LinkOptions = {
  url: string;
  clientId: string;
  username?: string | undefined;
  password?: string | undefined;
  /** Asked anew for every connection, so that certificates may be renewed while it lasts; PEM. */
  tls?: (() => TlsMaterial) | undefined;
  will?: Will;
  onState?: (state: "connected" | "away", detail: string) => void;
};
export type Link = {
  readonly connected: boolean;
  /** QoS 1; resolves with the broker's PUBACK, which promises no more than that it was taken. */
  publish: (topic: string, payload: unknown, options?: { retain?: boolean }) => Promise<void>;
  /** Handlers get parsed JSON; what cannot be parsed arrives as undefined, so the caller may count it. */
  subscribe: (filter: string, handler: (topic: string, payload: unknown, raw: Uint8Array) => void, options?: { shared?: string }) => void;
  onConnect: (handler: () => void) => void;
  /** Ends the connection as a client does that says goodbye, and opens another one at once, with what `tls` gives now. */
  renew: () => void;
  close: () => Promise<void>;
};

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 15_000;
const FAREWELL_MS = 2000;
/** A verdict with sixteen regions has 4 kB; nothing of ours comes near this. */
export const PAYLOAD_LIMIT_BYTES = 256 * 1024;
const REFUSED_VERSION = 1;
const UNSUPPORTED_VERSION = 132;

type Subscription = { filter: string; shared?: string | undefined; handler: (topic: string, payload: unknown, raw: Uint8Array) => void };

export function connectLink(options: LinkOptions): Link {
  const subscriptions: Subscription[] = [];
  const connectHandlers: (() => void)[] = [];
  let version: 4 | 5 = 5;
  let waitMs = FIRST_WAIT_MS;
  let client: MqttClient = open();
  let closed = false;
  let timer: NodeJS.Timeout | null = null;

  function open(): MqttClient {
    const fresh = mqtt.connect(options.url, clientOptions(options, version));
    fresh.on("connect", () => {
      waitMs = FIRST_WAIT_MS;
      options.onState?.("connected", `MQTT ${version === 5 ? "5" : "3.1.1"}`);
      for (const subscription of subscriptions) send(fresh, subscription);
      for (const handler of connectHandlers) handler();
    });
    fresh.on("message", (topic, raw) => dispatch(topic, raw));
    fresh.on("error", (error: Error & { code?: unknown }) => {
      if (version === 5 && isVersionRefusal(error)) version = 4;
      options.onState?.("away", error.message || String(error.code));
    });
    fresh.on("close", () => {
      if (fresh === client && !closed && !timer) reopenLater();
    });
    return fresh;
  }

  function reopenLater(): void {
    options.onState?.("away", "the broker is away");
    timer = setTimeout(
      () => {
        timer = null;
        client.end(true);
        if (!closed) client = open();
      },
      waitMs * (0.5 + Math.random()),
    );
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
  }

  function send(to: MqttClient, { filter, shared }: Subscription): void {
    const name = shared && version === 5 ? `$share/${shared}/${filter}` : filter;
    to.subscribe(name, { qos: 1 }, (error) => {
      if (error) options.onState?.("away", `the broker refused the subscription ${name}: ${error.message}`);
    });
  }

  function dispatch(topic: string, raw: Uint8Array): void {
    const payload = parse(raw);
    for (const { filter, handler } of subscriptions) if (matches(filter, topic)) handler(topic, payload, raw);
  }

  return {
    get connected() {
      return client.connected;
    },
    publish: async (topic, payload, { retain = false } = {}) => {
      if (!client.connected)
        throw new KenpinError(
          "broker-away",
          `the broker at ${withoutLogin(options.url)} is away; what is kept will be sent when it is back`,
        );
      const text = payload === null ? "" : JSON.stringify(payload);
      await client.publishAsync(topic, text, {
        qos: 1,
        retain,
        ...(version === 5 && { properties: { contentType: "application/json", userProperties: { schema: topic.split("/")[4] ?? "" } } }),
      });
    },
    subscribe: (filter, handler, { shared } = {}) => {
      const subscription = { filter, handler, shared };
      subscriptions.push(subscription);
      if (client.connected) send(client, subscription);
    },
    onConnect: (handler) => {
      connectHandlers.push(handler);
      if (client.connected) handler();
    },
    renew: () => {
      if (closed || timer) return; // the next try asks `tls` anyway
      const old = client;
      old.end(false); // with a DISCONNECT, so that the broker does not publish the will
      setTimeout(() => {
        if (old === client && !closed && !timer) reopenLater(); // a broker that hangs answers nothing
      }, FAREWELL_MS).unref();
    },
    close: async () => {
      closed = true;
      if (timer) clearTimeout(timer);
      await client.endAsync(!client.connected);
    },
  };
}

/** A broker's address for people's eyes: an address may carry a user and a password, and those stay here. */
function withoutLogin(url: string): string {
  const parsed = URL.parse(url);
  return parsed ? `${parsed.protocol}//${parsed.host}` : "the given address";
}

function clientOptions({ clientId, username, password, tls, will }: LinkOptions, version: 4 | 5): IClientOptions {
  const { ca, cert, key } = tls?.() ?? {};
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    protocolVersion: version,
    clientId,
    clean: true,
    reconnectPeriod: 0, // ours has jitter and grows
    queueQoSZero: false,
    connectTimeout: 10_000,
    keepalive: 20,
    ...(version === 5 && { properties: { maximumPacketSize: PAYLOAD_LIMIT_BYTES, receiveMaximum: 64 } }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(will && { will: { topic: will.topic, payload: Buffer.from(JSON.stringify(will.payload)), qos: 1 as const, retain: true } }),
  };
}

/** A 3.1.1 broker answers a version 5 connect with code 1, or drops it; a broker of 5 that refuses it says 132. */
function isVersionRefusal(error: Error & { code?: unknown }): boolean {
  return (
    error.code === REFUSED_VERSION || error.code === UNSUPPORTED_VERSION || /protocol version|unacceptable|packet/i.test(error.message)
  );
}

function parse(raw: Uint8Array): unknown {
  if (raw.length > PAYLOAD_LIMIT_BYTES) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(raw));
  } catch {
    return undefined;
  }
}

/** MQTT 5, section 4.7: + is one level, # the rest. */
export function matches(filter: string, topic: string): boolean {
  const [wanted, levels] = [filter.split("/"), topic.split("/")];
  for (const [i, part] of wanted.entries()) {
    if (part === "#") return true;
    if (part !== "+" && part !== levels[i]) return false;
  }
  return wanted.length === levels.length;
}
