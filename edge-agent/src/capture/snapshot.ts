/**
 * A camera that answers a GET with one picture (most network cameras have such an address): asked at its interval, and at once when a
 * trigger comes. Bytes and time are limited, redirects are not followed, and credentials go in the header only.
 */
import { within } from "@kenpin/client";
import { KenpinError, type SnapshotSource } from "@kenpin/schema";
import { FRAME_LIMIT_BYTES } from "./frame-file.ts";
import type { Feed, FeedSink } from "./live-camera.ts";
import { type Login, readLogin, withoutSecrets } from "./login.ts";

export function snapshotFeed(source: SnapshotSource): Feed {
  return async ({ onPicture, rest, signal }: FeedSink) => {
    const login = await readLogin(source.login);
    while (!signal.aborted) {
      const takenAt = performance.now();
      onPicture(await fetchPicture(source, login, signal), takenAt);
      await rest(Math.max(0, source.intervalMs - (performance.now() - takenAt)));
    }
  };
}

async function fetchPicture({ url, timeoutMs }: SnapshotSource, login: Login | null, stopped: AbortSignal): Promise<Uint8Array> {
  const { address, headers } = request(url, login);
  try {
    return await within({ timeoutMs, signal: stopped }, async (signal) => {
      const response = await fetch(address, { headers, redirect: "error", signal });
      if (!response.ok) {
        await response.body?.cancel();
        throw new KenpinError("camera-refused", `the camera answered ${response.status}; expected a picture`);
      }
      return await readLimited(response);
    });
  } catch (error) {
    if (error instanceof KenpinError) throw error;
    const { cause } = error as Error;
    const why = cause instanceof Error ? cause.message : (error as Error).message;
    throw new KenpinError("camera-unreachable", withoutSecrets(`${hostOf(url)}: ${why}`, login ? [login.password] : []));
  }
}

/** fetch refuses an address with a login in it; Basic (RFC 7617) is what cameras take. */
function request(url: string, login: Login | null): { address: URL; headers: Record<string, string> } {
  const address = new URL(url);
  const username = login?.username ?? decodeURIComponent(address.username);
  const password = login?.password ?? decodeURIComponent(address.password);
  address.username = "";
  address.password = "";
  const headers: Record<string, string> = { accept: "image/*" };
  if (username) headers["authorization"] = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
  return { address, headers };
}

async function readLimited(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > FRAME_LIMIT_BYTES) throw new KenpinError("frame-too-large", `the camera sent more than ${FRAME_LIMIT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function hostOf(url: string): string {
  return new URL(url).host;
}
