/**
 * Secrets of who may come in: tokens, codes of links, sessions. Only their sha256 digests are held or stored; a token that a program
 * gives itself lies in a file that only its own user may read.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { KenpinError } from "@kenpin/schema";

const SECRET_BYTES = 32;

export function freshSecret(prefix = ""): string {
  return prefix + randomBytes(SECRET_BYTES).toString("base64url");
}

/** sha256 in hex. */
export function digestOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

export function sameDigest(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

/** The token in this file; the first start makes it. `broken` is the error's code where the file holds none. */
export function keptToken(file: string, prefix: string, broken: string): string {
  try {
    writeFileSync(file, `${freshSecret(prefix)}\n`, { mode: 0o600, flag: "wx", flush: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const token = readFileSync(file, "utf8").trim();
  if (token.length < SECRET_BYTES) {
    throw new KenpinError(broken, `${file} holds no token; delete the file and the next start makes a new one`);
  }
  return token;
}
