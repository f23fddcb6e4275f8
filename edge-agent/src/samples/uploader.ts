/**
 * Brings pictures to the hub: PUT /v1/blobs/<sha256> with the agent's own token, once each (201 stored, 200 already there).
 * Tries for ever with growing pauses, across restarts; one picture the hub will not take does not hold up the others.
 */
import { within } from "@kenpin/client";
import { errorLine, KenpinError } from "@kenpin/schema";
import type { Logger } from "pino";
import { Rest } from "../rest.ts";
import type { EvidenceStore, Pending } from "./evidence-store.ts";

export type UploaderOptions = {
  store: EvidenceStore;
  hub: { url: string; token: string };
  log: Logger;
  firstRetryMs?: number;
};

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
const IDLE_MS = 30_000;
const TIMEOUT_MS = 120_000;
const BATCH = 32;

export class Uploader {
  #options: UploaderOptions;
  #stopped = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #rest = new Rest();

  constructor(options: UploaderOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  wake(): void {
    this.#rest.wake();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#rest.end();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { store, log, firstRetryMs = FIRST_RETRY_MS } = this.#options;
    let retryMs = firstRetryMs;
    while (!this.#stopped.signal.aborted) {
      const { sent, failed } = await this.#sendAll();
      if (sent > 0) retryMs = firstRetryMs;
      await store.sweep().catch((error) => log.error({ why: errorLine(error) }, "evidence-not-swept"));
      // After a failure only time helps; otherwise a new picture does.
      if (failed) await this.#rest.forTime(retryMs * (0.5 + Math.random()));
      else if (sent === 0) await this.#rest.forNews(IDLE_MS);
      if (failed) retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
    }
  }

  async #sendAll(): Promise<{ sent: number; failed: boolean }> {
    const { store, log } = this.#options;
    let sent = 0;
    let failed = false;
    for (const picture of store.pending(BATCH)) {
      if (this.#stopped.signal.aborted) break;
      try {
        await this.#send(picture);
        store.uploaded(picture);
        sent++;
      } catch (error) {
        failed = true;
        log.warn({ sha256: picture.sha256, why: errorLine(error) }, "upload-failed");
        if (!(error instanceof KenpinError)) break; // no answer at all: the others would fare no better
      }
    }
    return { sent, failed };
  }

  async #send(picture: Pending): Promise<void> {
    const { hub } = this.#options;
    const body = await this.#read(picture);
    const response = await within({ timeoutMs: TIMEOUT_MS, signal: this.#stopped.signal }, async (signal) => {
      const headers = { authorization: `Bearer ${hub.token}`, "content-type": picture.type };
      const url = new URL(`/v1/blobs/${picture.sha256}`, hub.url);
      const answer = await fetch(url, { method: "PUT", headers, body: Buffer.from(body), redirect: "error", signal });
      await answer.body?.cancel();
      return answer;
    });
    if (response.status !== 200 && response.status !== 201) {
      throw new KenpinError("upload-refused", `the hub answered ${response.status}; look at its log and at this agent's token`);
    }
  }

  /** Only a picture that is gone is given up: a disk that is busy or full of handles reads it the next time. */
  async #read(picture: Pending): Promise<Uint8Array> {
    const { store } = this.#options;
    try {
      return await store.read(picture);
    } catch (cause) {
      const { sha256 } = picture;
      if ((cause as NodeJS.ErrnoException).code !== "ENOENT") {
        throw new KenpinError("evidence-unreadable", `the bytes of ${sha256} cannot be read yet: ${errorLine(cause)}`, { cause });
      }
      store.forget(picture);
      throw new KenpinError("evidence-missing", `the bytes of ${sha256} are gone from the data folder; the sample stays without them`);
    }
  }
}
