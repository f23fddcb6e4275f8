/**
 * How a page keeps up with its server: everything is read once, then events say what changed; after a gap everything is read anew, so a
 * missed event never stays missing. Whoever is not signed in any more is led to the sign-in.
 */
import type { ErrorBody } from "@kenpin/schema";
import { useEffect, useMemo, useState } from "preact/hooks";

const RETRY_MS = 2000;

type Following<News> = {
  /** An address that only somebody who is signed in may read. */
  probe: string;
  /** Reads everything anew; tried until it works. */
  read: () => Promise<void>;
  onNews: (news: News) => void;
  onAway: () => void;
};

export function followEvents<News>({ probe, read, onNews, onAway }: Following<News>): void {
  const readAll = () => void read().catch(() => setTimeout(readAll, RETRY_MS));
  const follow = () => {
    const events = new EventSource("/v1/events");
    events.onopen = readAll;
    events.onerror = () => {
      onAway();
      if (events.readyState === EventSource.CLOSED) void comeBack();
    };
    events.onmessage = ({ data }) => onNews(JSON.parse(data) as News);
  };
  /** EventSource gives up on an error status: either nobody is signed in, or the server is not up yet. */
  const comeBack = async () => {
    const response = await fetch(probe).catch(() => null);
    if (response?.status === 401) location.assign("/login");
    else setTimeout(follow, RETRY_MS);
  };
  follow();
}

/** Asks the server to do something; throws with its own line. */
export async function ask<T>(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<T> {
  const isBytes = body instanceof Blob;
  const type = isBytes ? body.type || "application/octet-stream" : "application/json";
  const sent =
    method === "GET" || body === undefined ? {} : { body: isBytes ? body : JSON.stringify(body), headers: { "content-type": type } };
  const response = await fetch(path, { method, ...sent });
  if (response.status === 401) location.assign("/login");
  if (!response.ok) throw new Error(((await response.json()) as ErrorBody).message);
  return response.json() as Promise<T>;
}

/** A burst of changes draws the page once a frame. */
export function oncePerFrame(draw: () => void): () => void {
  let drawn = true;
  return () => {
    if (!drawn) return;
    drawn = false;
    requestAnimationFrame(() => {
      drawn = true;
      draw();
    });
  };
}

/** A store that lives as long as the page and draws it at every change. */
export function useStore<S extends { start: () => void }>(make: (onChange: () => void) => S): S {
  const [, redraw] = useState(0);
  const store = useMemo(() => make(() => redraw((times) => times + 1)), []);
  useEffect(() => store.start(), [store]);
  return store;
}
