/**
 * Fetches a bundle's tar from the agent's one hub into a file, with its own token, and not a byte more than was announced.
 * A hub that is away or busy is a reason to wait, not to refuse: `again` tells the two apart.
 */
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type BundleDesired, errorLine, KenpinError } from "@kenpin/schema";

export type DownloadOptions = { hub: { url: string; token: string }; desired: BundleDesired; file: string; signal: AbortSignal };

/** The hub could not be asked; the same request may well succeed later. */
export class HubAwayError extends KenpinError {
  constructor(why: string, options?: { cause?: unknown }) {
    super("hub-away", `the bundle could not be fetched yet: ${why}`, options);
  }
}

export async function download({ hub, desired, file, signal }: DownloadOptions): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const response = await ask(hub, desired.path, signal);
  let received = 0;
  const limited = async function* (chunks: AsyncIterable<Uint8Array>) {
    for await (const chunk of chunks) {
      received += chunk.length;
      if (received > desired.bytes) {
        throw new KenpinError("bundle-too-large", `the bundle was refused: the hub sends more than the ${desired.bytes} bytes announced`);
      }
      yield chunk;
    }
  };
  try {
    await pipeline(Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]), limited, createWriteStream(file), { signal });
  } catch (error) {
    if (error instanceof KenpinError) throw error;
    throw new HubAwayError(errorLine(error), { cause: error });
  }
  if (received < desired.bytes) {
    throw new KenpinError("bundle-broken", `the bundle was refused: the hub sent ${received} bytes, ${desired.bytes} were announced`);
  }
}

async function ask(hub: { url: string; token: string }, path: string, signal: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(new URL(path, hub.url), { headers: { authorization: `Bearer ${hub.token}` }, redirect: "error", signal });
  } catch (error) {
    throw new HubAwayError(`the hub at ${hub.url} does not answer`, { cause: error });
  }
  if (response.ok && response.body) return response;
  await response.body?.cancel();
  if (response.status >= 500 || response.status === 429) throw new HubAwayError(`the hub answered ${response.status}`);
  throw new KenpinError("bundle-not-served", `the bundle was refused: the hub answered ${response.status} for it; look at the hub's log`);
}
