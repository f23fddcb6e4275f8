/** One picture of a live camera, to see whether it gives any: opened, and closed again with the first one. Rejects with why there is none. */
import { KenpinError } from "@kenpin/schema";
import { feedOf, type LiveSource } from "./open-source.ts";

export async function firstPicture(source: LiveSource, patienceMs: number): Promise<Uint8Array> {
  const closed = new AbortController();
  const late = setTimeout(() => closed.abort(), patienceMs);
  let first: Uint8Array | null = null;
  const onPicture = (bytes: Uint8Array) => {
    first ??= bytes;
    closed.abort();
  };
  try {
    await feedOf(source).feed({ onPicture, rest: () => Promise.resolve(), signal: closed.signal });
  } catch (error) {
    if (!closed.signal.aborted) throw error;
  } finally {
    clearTimeout(late);
  }
  if (!first) throw new KenpinError("camera-silent", `the camera gave no picture within ${patienceMs} ms`);
  return first;
}
