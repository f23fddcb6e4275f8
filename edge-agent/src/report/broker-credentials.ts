/**
 * The files by which the broker and this agent know each other: authorities to trust, a certificate and its key. Looked at again and
 * again, so that they can be renewed while the agent runs. In: the paths of the configuration. Out: what they hold, and a word when
 * that changed. New files are taken only once they are whole: a certificate that does not belong to its key yet is half of a renewal.
 * Until there are any, the system's own authorities are trusted and no certificate is shown, which a broker with its own refuses.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import type { TlsMaterial } from "@kenpin/messaging";
import { type AgentConfig, errorLine, KenpinError } from "@kenpin/schema";
import type { Logger } from "pino";

export type BrokerCredentialsOptions = {
  broker: Pick<AgentConfig["broker"], "ca" | "cert" | "key">;
  /** Told that other files are in use from now on. */
  onChange: () => void;
  log: Logger;
  everyMs?: number;
};

const EVERY_MS = 5000;
const DAY_MS = 86_400_000;
/** A certificate that runs out sooner is worth a line a day. */
const SOON_DAYS = 14;

export class BrokerCredentials {
  #options: BrokerCredentialsOptions;
  #material: TlsMaterial = {};
  #refused = "";
  #warnedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;

  /** Files that cannot be used yet keep no line from inspecting: they are logged, and looked at again. */
  constructor(options: BrokerCredentialsOptions) {
    this.#options = options;
    this.#look();
  }

  get material(): TlsMaterial {
    return this.#material;
  }

  /** When the client certificate runs out; null without one. */
  get expiresAt(): Date | null {
    const { cert } = this.#material;
    return cert === undefined ? null : new Date(new X509Certificate(cert).validTo);
  }

  start(): void {
    const { broker, everyMs = EVERY_MS } = this.#options;
    if (!broker.ca && !broker.cert) return;
    this.#timer = setInterval(() => this.#look(), everyMs);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer) clearInterval(this.#timer);
  }

  #look(): void {
    const { broker, onChange, log } = this.#options;
    try {
      const fresh = readMaterial(broker);
      this.#refused = "";
      if (JSON.stringify(fresh) !== JSON.stringify(this.#material)) {
        this.#material = fresh;
        log.info({ expiresAt: this.expiresAt?.toISOString() ?? null }, "broker-credentials-taken");
        if (this.#timer) onChange();
      }
    } catch (error) {
      if (errorLine(error) !== this.#refused) log.error({ why: errorLine(error) }, "broker-credentials-not-taken");
      this.#refused = errorLine(error);
    }
    this.#warn();
  }

  #warn(): void {
    const left = (this.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY) - Date.now();
    if (left > SOON_DAYS * DAY_MS || performance.now() - this.#warnedAt < DAY_MS) return;
    this.#warnedAt = performance.now();
    this.#options.log.warn({ expiresAt: this.expiresAt?.toISOString() }, "broker-certificate-runs-out");
  }
}

/** What the files hold, as far as they are named; throws where they do not fit each other. */
export function readMaterial({ ca, cert, key }: BrokerCredentialsOptions["broker"]): TlsMaterial {
  const read = (file: string | undefined) => (file === undefined ? undefined : readFileSync(file, "utf8"));
  try {
    const material = { ca: read(ca), cert: read(cert), key: read(key) };
    createSecureContext(material);
    if (material.cert !== undefined && material.key !== undefined) {
      const fits = new X509Certificate(material.cert).checkPrivateKey(createPrivateKey(material.key));
      if (!fits) throw new Error(`${cert} does not belong to ${key}`);
    }
    return material;
  } catch (cause) {
    const files = [ca, cert, key].filter((file) => file !== undefined).join(", ");
    throw new KenpinError(
      "broker-credentials-unusable",
      `${files} cannot be used for the broker: ${errorLine(cause)}; name PEM files that fit each other`,
      {
        cause,
      },
    );
  }
}
