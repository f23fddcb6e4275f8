/**
 * Who may open the agent's page: a token in a file that only the agent's own user may read, one-time links made with it, and
 * the sessions both lead to. Only sha256 digests of secrets are held, in memory: a restart signs everybody out.
 * Wrong tokens and links are counted by address and altogether, so that nobody can try many.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { digestOf, freshSecret, keptToken, LINK_LIFE_MS, SESSION_LIFE_MS, sameDigest } from "@kenpin/page";
import type { Caller } from "./page-door.ts";

/** Links that nobody opened, and sessions that nobody ended, must not pile up. */
const OPEN_LINKS = 20;
const SESSIONS = 50;
const FAULT_WINDOW_MS = 60_000;
/** In one window. */
const FAULTS_OF_ONE = 5;
const FAULTS_OF_ALL = 50;

type Held = { name: string; expiresAt: number };

export class PageAccess {
  #tokenDigest: string;
  #links = new Map<string, Held>();
  #sessions = new Map<string, Held>();
  #faults: { from: string; at: number }[] = [];
  #now: () => number;

  constructor(dataDir: string, now: () => number = Date.now) {
    this.#tokenDigest = digestOf(pageToken(dataDir));
    this.#now = now;
  }

  holdsToken(token: string): boolean {
    return sameDigest(digestOf(token), this.#tokenDigest);
  }

  /** The code of a link that opens the page once. */
  link(name: string): { code: string; expiresAt: number } {
    const code = freshSecret();
    const expiresAt = this.#now() + LINK_LIFE_MS;
    put(this.#links, code, { name, expiresAt }, OPEN_LINKS);
    return { code, expiresAt };
  }

  /** Takes a link's code, once; null where it is unknown, used or too old. */
  redeem(code: string): Caller | null {
    const key = digestOf(code);
    const link = this.#links.get(key);
    this.#links.delete(key);
    return link && link.expiresAt > this.#now() ? { name: link.name } : null;
  }

  /** The secret of a fresh session, for the cookie. */
  open({ name }: Caller): string {
    const session = freshSecret();
    put(this.#sessions, session, { name, expiresAt: this.#now() + SESSION_LIFE_MS }, SESSIONS);
    return session;
  }

  sessionOf(session: string): Caller | null {
    const held = this.#sessions.get(digestOf(session));
    return held && held.expiresAt > this.#now() ? { name: held.name } : null;
  }

  close(session: string): void {
    this.#sessions.delete(digestOf(session));
  }

  /** Seconds until this address may try again; 0 where it may now. */
  waitOf(from: string): number {
    const since = this.#now() - FAULT_WINDOW_MS;
    this.#faults = this.#faults.filter(({ at }) => at > since);
    const own = this.#faults.filter((fault) => fault.from === from);
    const [counted, most] = own.length >= FAULTS_OF_ONE ? [own, FAULTS_OF_ONE] : [this.#faults, FAULTS_OF_ALL];
    const first = counted.at(-most);
    return first ? Math.ceil((first.at - since) / 1000) : 0;
  }

  fault(from: string): void {
    this.#faults.push({ from, at: this.#now() });
  }
}

export function pageTokenFile(dataDir: string): string {
  return join(dataDir, "page.token");
}

/** The first start makes it; whoever may read the data folder may open the page. */
function pageToken(dataDir: string): string {
  mkdirSync(dataDir, { recursive: true });
  return keptToken(pageTokenFile(dataDir), "", "page-token-broken");
}

/** The oldest goes where there are too many. */
function put(held: Map<string, Held>, key: string, value: Held, most: number): void {
  held.set(digestOf(key), value);
  for (const old of [...held.keys()].slice(0, Math.max(0, held.size - most))) held.delete(old);
}
