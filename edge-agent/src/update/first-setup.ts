/**
 * What to start with: the bundle that ran last, the one before it where the last one's folder is broken and the one before is
 * still kept, or, where none ever ran, the file named in the configuration.
 * A first bundle that is foreign, broken or truncated is an error here: an agent with nothing to decide by must not run.
 */
import { access } from "node:fs/promises";
import { errorLine, KenpinError } from "@kenpin/schema";
import type { Setup } from "../setup.ts";
import type { BundleStore } from "./bundle-store.ts";

/** `broken`: the bundle that should have been started with, and why it was not. */
export type FirstSetup = { setup: Setup; isFirst: boolean; broken: { digest: string; reason: string } | null };

export async function firstSetup(store: BundleStore, bundleFile: string): Promise<FirstSetup> {
  if (store.current) return lastSetup(store, store.current);
  await access(bundleFile).catch((cause: unknown) => {
    throw new KenpinError("bundle-missing", `the bundle ${bundleFile} cannot be read; fetch one from the hub and name it in "bundle"`, {
      cause,
    });
  });
  return { setup: await store.setup(await store.install(bundleFile)), isFirst: true, broken: null };
}

async function lastSetup(store: BundleStore, current: string): Promise<FirstSetup> {
  const { fallback } = store;
  try {
    return { setup: await store.setup(current), isFirst: false, broken: null };
  } catch (error) {
    if (!fallback) throw error;
    const setup = await store.setup(fallback);
    store.fallBack(fallback);
    return { setup, isFirst: false, broken: { digest: current, reason: errorLine(error) } };
  }
}
