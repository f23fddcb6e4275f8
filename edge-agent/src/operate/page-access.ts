/**
 * Who may open the agent's page: a token in a file that only the agent's own user may read, one-time links made with it, and
 * the sessions both lead to. Only sha256 digests of secrets are held, in memory: a restart signs everybody out.
 * Wrong tokens and links are counted by address and altogether, so that nobody can try many.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { KenpinError } from "@kenpin/schema";
import type { Caller } from "./page-door.ts";

const SECRET_BYTES = 32;
const LINK_LIFE_MS = 5 * 60_000;
export const SESSION_LIFE_MS = 12 * 3_600_000;
/** Links that nobody opened, and sessions that nobody ended, must not pile up. */
const OPEN_LINKS = 20;
const SESSIONS = 50;
const FAULT_WINDOW_MS = 60_000;
/** In one window. */
const FAULTS_OF_ONE = 5;
const FAULTS_OF_ALL = 50;

type Held = { name: string; expiresAt: number };

export class PageAccess {
  #tokenDigest: Buffer;
  #links = new Map<string, Held>();
  #sessions = new Map<string, Held>();
  #faults: { from: string; at: number }[] = [];
  #now: () => number;

  constructor(dataDir: string, now: () => number = Date.now) {
    this.#tokenDigest = digestOf(pageToken(dataDir));
    this.#now = now;
  }

  holdsToken(token: string): boolean {
    return timingSafeEqual(digestOf(token), this.#tokenDigest);
  }

  /** The code of a link that opens the page once. */
  link(name: string): { code: string; expiresAt: number } {
    const code = secret();
    const expiresAt = this.#now() + LINK_LIFE_MS;
    put(this.#links, code, { name, expiresAt }, OPEN_LINKS);
    return { code, expiresAt };
  }

  /** Takes a link's code, once; null where it is unknown, used or too old. */
  redeem(code: string): Caller | null {
    const key = digestOf(code).toString("hex");
    const link = this.#links.get(key);
    this.#links.delete(key);
    return link && link.expiresAt > this.#now() ? { name: link.name } : null;
  }

  /** The secret of a fresh session, for the cookie. */
  open({ name }: Caller): string {
    const session = secret();
    put(this.#sessions, session, { name, expiresAt: this.#now() + SESSION_LIFE_MS }, SESSIONS);
    return session;
  }

  sessionOf(session: string): Caller | null {
    const held = this.#sessions.get(digestOf(session).toString("hex"));
    return held && held.expiresAt > this.#now() ? { name: held.name } : null;
  }

  close(session: string): void {
    this.#sessions.delete(digestOf(session).toString("hex"));
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
  const file = pageTokenFile(dataDir);
  mkdirSync(dataDir, { recursive: true });
  try {
    writeFileSync(file, `${secret()}\n`, { mode: 0o600, flag: "wx", flush: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const token = readFileSync(file, "utf8").trim();
  if (token.length < SECRET_BYTES) {
    throw new KenpinError("page-token-broken", `${file} holds no token; delete the file and the next start makes a new one`);
  }
  return token;
}

/** The oldest goes where there are too many. */
function put(held: Map<string, Held>, key: string, value: Held, most: number): void {
  held.set(digestOf(key).toString("hex"), value);
  for (const old of [...held.keys()].slice(0, Math.max(0, held.size - most))) held.delete(old);
}

function secret(): string {
  return randomBytes(SECRET_BYTES).toString("base64url");
}

function digestOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
