/**
 * A camera's login: the password from the environment or a file, read anew at every opening, so that one that was changed is taken
 * without a restart. Nothing here is ever logged; `withoutSecrets` cleans what a camera or a tool says.
 */
import { readFile } from "node:fs/promises";
import { type CameraLogin, KenpinError } from "@kenpin/schema";

export type Login = { username: string; password: string };

const PASSWORD_LIMIT = 1000;

export async function readLogin(login: CameraLogin | undefined): Promise<Login | null> {
  if (!login) return null;
  const { username, passwordEnv, passwordFile } = login;
  const password = passwordEnv !== undefined ? process.env[passwordEnv] : await readSecret(passwordFile ?? "");
  if (password === undefined || password === "" || password.length > PASSWORD_LIMIT) {
    const where = passwordEnv !== undefined ? `the environment variable ${passwordEnv}` : passwordFile;
    throw new KenpinError("camera-password-missing", `${where} holds no password of at most ${PASSWORD_LIMIT} characters`);
  }
  return { username, password };
}

/** The URL a camera is reached by, with its login in it, and without. */
export function withLogin(url: string, login: Login | null): string {
  if (!login) return url;
  const whole = new URL(url);
  whole.username = encodeURIComponent(login.username);
  whole.password = encodeURIComponent(login.password);
  return whole.href;
}

/** What stands between // and @ in an address, and the secrets themselves, wherever somebody repeats them. */
export function withoutSecrets(text: string, secrets: readonly string[] = []): string {
  const known = secrets.filter((secret) => secret.length > 0).flatMap((secret) => [secret, encodeURIComponent(secret)]);
  const hidden = known.reduce((rest, secret) => rest.replaceAll(secret, "***"), text);
  return hidden.replace(/\/\/[^@/\s]*@/g, "//***@");
}

async function readSecret(file: string): Promise<string | undefined> {
  const text = await readFile(file, "utf8").catch(() => undefined);
  return text?.trim();
}
