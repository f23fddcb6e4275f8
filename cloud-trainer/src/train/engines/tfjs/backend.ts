/**
 * The one door to tfjs. Takes tfjs-node (TensorFlow's own library) where its binding was built, else the wasm back end.
 * tfjs-node calls functions that Node 23 removed from `util`; they are put back before it loads.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import util from "node:util";

export type Tf = typeof import("@tensorflow/tfjs-core");
export type { Tensor, Tensor1D, Tensor2D, Tensor3D, Tensor4D, Variable } from "@tensorflow/tfjs-core";
export type Backend = { tf: Tf; name: "tfjs-node" | "wasm" };

let loaded: Promise<Backend> | null = null;

/** Loads the fastest back end there is, once; or the portable one. */
export function loadBackend(only?: "wasm"): Promise<Backend> {
  loaded ??= load(only);
  return loaded;
}

async function load(only?: "wasm"): Promise<Backend> {
  const require = createRequire(import.meta.url);
  const binding = join(dirname(require.resolve("@tensorflow/tfjs-node/package.json")), "lib/napi-v8/tfjs_binding.node");
  if (only !== "wasm" && existsSync(binding)) {
    process.env["TF_CPP_MIN_LOG_LEVEL"] ??= "2";
    restoreRemovedUtil();
    const tf = require("@tensorflow/tfjs-node") as Tf;
    return { tf, name: "tfjs-node" };
  }
  const tf = require("@tensorflow/tfjs") as Tf;
  require("@tensorflow/tfjs-backend-wasm");
  await tf.setBackend("wasm");
  await tf.ready();
  return { tf, name: "wasm" };
}

function restoreRemovedUtil(): void {
  Object.assign(util, { isNullOrUndefined: (value: unknown) => value === null || value === undefined, isArray: Array.isArray });
}
