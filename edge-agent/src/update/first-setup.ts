/**
 * What to start with: the bundle that ran last, or, where none ever ran, the file named in the configuration.
 * A first bundle that is foreign, broken or truncated is an error here: an agent with nothing to decide by must not run.
 */
import { access } from "node:fs/promises";
import { KenpinError } from "@kenpin/schema";
import type { Setup } from "../setup.ts";
import type { BundleStore } from "./bundle-store.ts";

export async function firstSetup(store: BundleStore, bundleFile: string): Promise<{ setup: Setup; isFirst: boolean }> {
  const { current } = store;
  if (current) return { setup: await store.setup(current), isFirst: false };
  await access(bundleFile).catch((cause: unknown) => {
    throw new KenpinError("bundle-missing", `the bundle ${bundleFile} cannot be read; fetch one from the hub and name it in "bundle"`, {
      cause,
    });
  });
  return { setup: await store.setup(await store.install(bundleFile)), isFirst: true };
}
