/**
 * Starts an inspector as the configuration and this device want it: the runtime, the first provider that runs the model, and
 * threads and tiles at once as they were measured when the model was first seen here.
 * In: a setup. Out: an inspector that is not yet proven. What takes longer than two seconds is told while it lasts: an engine for
 * a GPU can take many minutes, and silence would pass for a hang.
 */
import { constrainedMemory } from "node:process";
import { totalmem } from "node:os";
import { join } from "node:path";
import { chooseRuntime, type Inspector, type Progress, startInspector } from "@kenpin/inspector";
import { type AgentConfig, type Building, errorLine } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Setup } from "../setup.ts";
import { deviceName } from "./device.ts";
import { EngineCache } from "./engine-cache.ts";
import { askedFor, tried, type Tuning, tuningOf, unfit } from "./tuning.ts";

export type OnBuilding = (building: Building) => void;
/** What every start of a worker is told alike. */
type Probing = Omit<Parameters<typeof startInspector>[0], "bundleDir" | "threads">;
/** What of a setup an inspector is started with. */
type Started = Pick<Setup, "bundle" | "folder" | "manifest">;
type LauncherConfig = Pick<AgentConfig, "threads" | "inspector" | "dataDir">;

const QUIET_MS = 2000;
const SAID_EVERY_MS = 5000;
const ENGINES = "engines";
/** A second inspector is prepared beside the first, so neither may hold more than half. */
const SHARE_OF_MEMORY = 0.5;

export class Launcher {
  readonly cache: EngineCache;
  readonly memoryLimitMb: number;
  #config: LauncherConfig;
  #log: Logger;
  #said = new Set<string>();

  constructor(config: LauncherConfig, log: Logger) {
    const { engineCache, engineCacheMb, memoryMb } = config.inspector;
    this.#config = config;
    this.#log = log;
    this.cache = new EngineCache({ folder: engineCache ?? join(config.dataDir, ENGINES), limitMb: engineCacheMb });
    this.memoryLimitMb = memoryMb ?? Math.floor((deviceMemoryBytes() * SHARE_OF_MEMORY) / 2 ** 20);
  }

  async start(setup: Started, onBuilding: OnBuilding, signal?: AbortSignal): Promise<Inspector> {
    const model = towerOf(setup);
    const clock = this.#clock(model, onBuilding);
    const probing = { ...this.#probing(model), onStep: clock.onStep, signal };
    try {
      const tuning = await this.#tuning(setup, probing);
      const inspector = await startInspector({
        ...probing,
        bundleDir: setup.folder,
        ...chosenBy(tuning, setup, this.#config),
      });
      const passedOver = [...unfitFor(tuning), ...inspector.passedOver];
      this.#tell(passedOver);
      if (tuning && inspector.provider !== tuning.best.provider) await this.cache.write(model, { ...tuning, asked: "" });
      const gone = await this.cache.sweep(model);
      if (gone > 0) this.#log.info({ folders: gone }, "old-engines-removed");
      return { ...inspector, passedOver };
    } finally {
      clock.stop();
    }
  }

  /** Measured when the model is first seen here; null where it cannot be, for the inspector's own start says why better. */
  async #tuning(setup: Started, probing: Probing): Promise<Tuning | null> {
    const model = towerOf(setup);
    const known = await this.cache.read(model);
    const asked = askedFor(this.#config);
    if (known?.asked === asked) return known;
    const { threads } = this.#config;
    const { tilePx, maxTiles } = setup.manifest.preprocess;
    const began = performance.now();
    try {
      const chosen = await chooseRuntime({
        ...probing,
        visionModel: join(setup.folder, "vision.onnx"),
        side: tilePx,
        maxTiles,
        ...(threads !== undefined && { threads: [threads] }),
      });
      const facts = { asked, device: deviceName(), tookMs: performance.now() - began, at: new Date().toISOString() };
      const tuning = tuningOf(chosen, facts);
      const { provider, ...best } = chosen.best;
      this.#log.info({ bundle: setup.bundle, provider, ...best, tookMs: Math.round(facts.tookMs) }, "runtime-measured");
      await this.cache.write(model, tuning).catch((error) => this.#log.warn({ why: errorLine(error) }, "measurement-not-kept"));
      return tuning;
    } catch (error) {
      this.#log.warn({ bundle: setup.bundle, why: errorLine(error) }, "runtime-not-measured");
      return null;
    }
  }

  #probing(model: string) {
    const { runtime, python, providers, gpuMemoryMb } = this.#config.inspector;
    return {
      providers,
      ...(runtime === "python" && { python }),
      ...(gpuMemoryMb !== undefined && { gpuMemoryMb }),
      engineDir: this.cache.folderOf(model),
      memoryLimitMb: this.memoryLimitMb,
    };
  }

  /** Why a provider does not run is worth one line, not one at each restart. */
  #tell(passedOver: Inspector["passedOver"]): void {
    for (const { provider, why } of passedOver) {
      if (this.#said.has(`${provider} ${why}`)) continue;
      this.#said.add(`${provider} ${why}`);
      this.#log.info({ provider, why }, "provider-passed-over");
    }
  }

  /** Tells of a step that lasts, with what the last one like it took. */
  #clock(model: string, onBuilding: OnBuilding): { onStep: (progress: Progress) => void; stop: () => void } {
    const began = performance.now();
    let timer: NodeJS.Timeout | null = null;
    let provider: Progress["provider"] | null = null;
    const tell = async () => {
      if (!provider) return;
      const asked = provider;
      const known = await this.cache.read(model);
      const expectedMs = (known && tried(known, asked) ? known.tookMs : null) ?? (await this.cache.lastTookMs(asked));
      if (timer) onBuilding({ provider: asked, elapsedMs: Math.round(performance.now() - began), expectedMs });
    };
    const next = (ms: number) => {
      timer = setTimeout(() => {
        next(SAID_EVERY_MS);
        void tell();
      }, ms);
    };
    next(QUIET_MS);
    return {
      onStep: (progress) => {
        provider = progress.provider;
      },
      stop: () => {
        if (timer) clearTimeout(timer);
        timer = null;
      },
    };
  }
}

export function towerOf({ manifest, bundle }: Started): string {
  return manifest.files["vision.onnx"]?.sha256 ?? bundle;
}

function unfitFor(tuning: Tuning | null): Inspector["passedOver"] {
  const unwanted = tuning ? unfit(tuning) : [];
  return tuning?.passedOver.filter(({ provider }) => unwanted.includes(provider)) ?? [];
}

/**
 * In 8 bits a tower's answers for a tile depend on the tiles beside it (activations share one scale), and its thresholds were
 * chosen on whole frames: there a frame is never split, and nothing measured here may change a score.
 */
function chosenBy(tuning: Tuning | null, { manifest }: Started, { threads, inspector: { providers } }: LauncherConfig) {
  if (!tuning) return { ...(threads !== undefined && { threads }) };
  const unwanted = unfit(tuning);
  return {
    providers: providers.filter((provider) => !unwanted.includes(provider)),
    threads: tuning.best.threads,
    ...(manifest.precision !== "int8" && { batch: tuning.best.batch }),
  };
}

function deviceMemoryBytes(): number {
  const constrained = constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
