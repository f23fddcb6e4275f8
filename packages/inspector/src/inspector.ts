/**
 * The parent's side of an inspector: a bundle opened in a worker process that inspects frames, and towers that embed.
 * Whatever happens to the worker, what was asked of it fails with `inspector-failed` and the parent lives on.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { BundleManifest, Provider } from "@kenpin/schema";
import type { AnomalyMap } from "./anomaly-map.ts";
import type { Inspection } from "./inspection.ts";
import type { Peer } from "./peer-process.ts";
import { askProbing, type Probing } from "./probe.ts";
import type { Opening } from "./protocol.ts";
import type { PassedOver } from "./runtime.ts";
import type { Lesson, Taught } from "./teaching.ts";
import { type RuntimeFacts, startWorker } from "./worker-process.ts";

export type InspectorOptions = Probing &
  Omit<Opening, "providers"> & {
    bundleDir: string;
    /** Tiles at once; all of a frame's where left out. */
    batch?: number | undefined;
    /** An empty folder of the caller's: a frame that comes again is not looked at again, only judged by what was taught since. */
    sightsDir?: string | undefined;
    /** Silence on a question for so long is a hang. */
    timeoutMs?: number;
  };
export type Inspector = {
  /** The one that really ran the model, and those before it that did not, with why. */
  provider: Provider;
  passedOver: PassedOver[];
  runtime: Pick<RuntimeFacts, "kind" | "version" | "offered">;
  precision: "fp32" | "fp16" | "int8";
  pid: number;
  inspect: (frame: Uint8Array, options?: { map?: boolean; timeoutMs?: number }) => Promise<{ inspection: Inspection; map: Uint8Array }>;
  /** The map itself, which `inspect` draws: logits of each cell being defective. */
  heat: (frame: Uint8Array) => Promise<{ inspection: Inspection; heat: AnomalyMap }>;
  /**
   * Replaces what was taught before by these exemplars: good ones fill the memory bank, with bad ones beside them a small head is
   * fitted too. Those taught or loaded before are not looked at again, and the very same ones teach nothing new.
   * `onProgress` counts exemplars, and one for the bank.
   */
  teach: (
    exemplars: readonly Exemplar[],
    options?: { onProgress?: (done: number, of: number) => void },
  ) => Promise<Taught & { isNew: boolean }>;
  /** What was taught, as bytes for the same bundle on the same device. */
  saveBank: () => Promise<Uint8Array>;
  /** Takes such bytes in place of what was taught; fails with `bank-foreign` or `bank-broken` and changes nothing. */
  loadBank: (file: Uint8Array) => Promise<{ lessons: Lesson[]; taught: Taught }>;
  /** Settles when the worker is gone, for whatever reason, which `lastWords` then tells. */
  ended: Promise<void>;
  lastWords: () => string;
  close: () => Promise<void>;
};

/** A frame and what somebody says of it. */
export type Exemplar = { frame: Uint8Array; label: "good" | "bad" };

/** A frame that takes longer than this hangs; the worker is ended. */
const TIMEOUT_MS = 30_000;
const TEACH_TIMEOUT_MS = 300_000;
/** The first question to a tower opens it, which for 5 billion weights takes minutes. */
const EMBED_TIMEOUT_MS = 600_000;
/** 16 rows of 1,024 numbers as JSON stay well below a header's limit. */
const TEXTS_AT_ONCE = 16;

export async function startInspector(options: InspectorOptions): Promise<Inspector> {
  const { bundleDir, threads, gpuMemoryMb, engineDir, batch, sightsDir, timeoutMs = TIMEOUT_MS } = options;
  const request = { op: "open", bundleDir, threads, gpuMemoryMb, engineDir, batch, sightsDir };
  const { worker, runtime, result } = await askProbing(options, request, timeoutMs);
  const opened = result as Pick<Inspector, "provider" | "passedOver" | "precision">;
  return {
    ...opened,
    runtime: { kind: runtime.kind, version: runtime.version, offered: runtime.offered },
    pid: worker.pid,
    inspect: async (frame, { map = false, timeoutMs: own = timeoutMs } = {}) => {
      const { result, body } = await worker.ask({ op: "inspect", map }, [frame], { timeoutMs: own });
      return { inspection: result as Inspection, map: body };
    },
    heat: async (frame) => {
      const { result, body } = await worker.ask({ op: "heat" }, [frame], { timeoutMs });
      const { inspection, grid } = result as { inspection: Inspection; grid: Omit<AnomalyMap, "values"> };
      return { inspection, heat: { ...grid, values: new Float32Array(new Uint8Array(body).buffer) } };
    },
    ...teaching(worker, timeoutMs),
    ended: worker.ended,
    lastWords: worker.lastWords,
    close: worker.close,
  };
}

function teaching({ ask }: Pick<Peer, "ask">, timeoutMs: number): Pick<Inspector, "teach" | "saveBank" | "loadBank"> {
  let known = new Set<string>();
  let last: { lessons: string; taught: Taught } | null = null;
  const remember = (lessons: readonly Lesson[], taught: Taught) => {
    known = new Set(lessons.map(({ digest }) => digest));
    last = { lessons: JSON.stringify(lessons), taught };
  };
  let turn: Promise<unknown> = Promise.resolve(); // a teaching forgets what another one is still showing
  const teachNow = async (exemplars: readonly Exemplar[], onProgress: (done: number, of: number) => void) => {
    const lessons = exemplars.map(({ frame, label }): Lesson => ({ digest: createHash("sha256").update(frame).digest("hex"), label }));
    if (last?.lessons === JSON.stringify(lessons)) return { ...last.taught, isNew: false };
    for (const [i, { frame }] of exemplars.entries()) {
      const { digest } = lessons[i] as Lesson;
      if (!known.has(digest)) await ask({ op: "show" }, [frame], { timeoutMs });
      known.add(digest);
      onProgress(i + 1, exemplars.length + 1);
    }
    const taught = (await ask({ op: "teach", lessons }, [], { timeoutMs: TEACH_TIMEOUT_MS })).result as Taught;
    remember(lessons, taught);
    onProgress(exemplars.length + 1, exemplars.length + 1);
    return { ...taught, isNew: true };
  };
  return {
    teach: (exemplars, { onProgress = () => {} } = {}) => {
      const taught = turn.then(() => teachNow(exemplars, onProgress));
      turn = taught.catch(() => undefined);
      return taught;
    },
    saveBank: async () => (await ask({ op: "save-bank" }, [], { timeoutMs })).body,
    loadBank: async (file) => {
      const result = (await ask({ op: "load-bank" }, [file], { timeoutMs })).result as { lessons: Lesson[]; taught: Taught };
      remember(result.lessons, result.taught);
      return result;
    },
  };
}

/** Embeds token rows with a text tower in a worker of its own, which ends with the answer. */
export async function embedTexts({ textModel, inputIds }: { textModel: string; inputIds: Int32Array[] }): Promise<Float32Array[]> {
  const worker = startWorker();
  try {
    const embeds: Float32Array[] = [];
    for (let i = 0; i < inputIds.length; i += TEXTS_AT_ONCE) {
      const rows = inputIds.slice(i, i + TEXTS_AT_ONCE).map((row) => [...row]);
      const { result } = await worker.ask({ op: "embed-text", textModel, inputIds: rows }, [], { timeoutMs: EMBED_TIMEOUT_MS });
      embeds.push(...(result as number[][]).map((row) => Float32Array.from(row)));
    }
    return embeds;
  } finally {
    await worker.close();
  }
}

export type EmbedImagesOptions = {
  visionModel: string;
  /** Input side of the image tower in pixels. */
  side: number;
  /** [3, side, side] each; made when their turn comes, so that a long list needs no memory. */
  pixelValues: Iterable<Promise<Float32Array>> | AsyncIterable<Float32Array>;
};

/** Embeds pictures with an image tower in a worker of its own, one row of length 1 each, in order. */
export async function* embedImages({ visionModel, side, pixelValues }: EmbedImagesOptions): AsyncGenerator<Float32Array> {
  const worker = startWorker();
  try {
    for await (const pixels of pixelValues) {
      const body = new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength);
      const answer = await worker.ask({ op: "embed-images", visionModel, side }, [body], { timeoutMs: EMBED_TIMEOUT_MS });
      yield new Float32Array(new Uint8Array(answer.body).buffer);
    }
  } finally {
    await worker.close();
  }
}

/** Runs the bundle's golden images; the first that strays past its tolerance is the reason for a refusal. */
export async function proveGolden(
  inspector: Inspector,
  bundleDir: string,
  { golden }: BundleManifest,
): Promise<{ ok: true } | { ok: false; reason: string }> {
  for (const { file, score, tolerance } of golden) {
    const { inspection } = await inspector.inspect(await readFile(join(bundleDir, file)));
    // JSON carries NaN as null, and null counts as 0 in arithmetic: a broken model must not pass for a low score.
    if (!Number.isFinite(inspection.score) || !(Math.abs(inspection.score - score) <= tolerance)) {
      return {
        ok: false,
        reason: `golden image ${file} scored ${Number(inspection.score).toFixed(4)}, expected ${score.toFixed(4)} ± ${tolerance}`,
      };
    }
  }
  return { ok: true };
}
