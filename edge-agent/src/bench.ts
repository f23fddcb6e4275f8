/**
 * `kenpin-agent bench`: how long a frame takes on this device by stage, with the installed bundle and what was measured for it.
 * In: the configuration, how many frames, and pictures or the bundle's own golden images. Out: median and 95th percentile in
 * milliseconds, and frames a second, one after the other as one camera sends them. `pipe` is what reaching the inspector costs.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Inspector } from "@kenpin/inspector";
import { type AgentConfig, KenpinError } from "@kenpin/schema";
import { quantile } from "@kenpin/stats";
import { pino } from "pino";
import { deviceName } from "./inspect/device.ts";
import { Launcher, type OnBuilding } from "./inspect/launcher.ts";
import { type InstalledBundle, openInstalledBundle } from "./installed-bundle.ts";

export type BenchOptions = {
  frames: number;
  /** Folder of pictures as the cameras give them. */
  images?: string | undefined;
  onBuilding: OnBuilding;
  onProgress: (done: number, of: number) => void;
};
type Spread = { median: number; p95: number };
export type BenchResult = {
  device: string;
  bundle: string;
  precision: string;
  runtime: string;
  provider: string;
  frames: number;
  pictures: number;
  sizes: string[];
  ms: Record<"decode" | "preprocess" | "infer" | "map" | "pipe" | "total", Spread>;
  framesPerSecond: number;
};

/** Caches and memory plans of the first ones are not what a line sees. */
const WARM_UP = 5;
const PICTURES_LIMIT = 200;

export async function runBench(config: AgentConfig, options: BenchOptions): Promise<BenchResult> {
  const installed = await openInstalledBundle(config);
  try {
    const pictures = await readPictures(installed, options.images);
    const inspector = await new Launcher(config, pino({ level: "silent" })).start(installed, options.onBuilding);
    try {
      return { ...facts(installed, inspector), pictures: pictures.length, ...(await time(inspector, pictures, options)) };
    } finally {
      await inspector.close();
    }
  } finally {
    await installed.remove();
  }
}

function facts({ bundle, manifest }: InstalledBundle, { provider, runtime }: Inspector) {
  return { device: deviceName(), bundle, precision: manifest.precision, runtime: `${runtime.kind} ${runtime.version}`, provider };
}

async function time(inspector: Inspector, pictures: readonly Uint8Array[], { frames, onProgress }: BenchOptions) {
  const rows: BenchRow[] = [];
  const sizes = new Set<string>();
  let began = 0;
  for (let i = -WARM_UP; i < frames; i++) {
    if (i === 0) began = performance.now();
    const started = performance.now();
    const { ms, width, height } = (await inspector.inspect(pictures[(i + WARM_UP) % pictures.length] as Uint8Array)).inspection;
    const total = performance.now() - started;
    sizes.add(`${width}×${height}`);
    if (i >= 0) rows.push({ ...ms, pipe: Math.max(0, total - ms.decode - ms.preprocess - ms.infer - ms.map), total });
    onProgress(Math.max(0, i + 1), frames);
  }
  const framesPerSecond = (frames * 1000) / (performance.now() - began);
  const spread = (stage: keyof BenchRow): Spread => {
    const values = rows.map((row) => row[stage]);
    return { median: quantile(values, 0.5), p95: quantile(values, 0.95) };
  };
  const stages = ["decode", "preprocess", "infer", "map", "pipe", "total"] as const;
  const ms = Object.fromEntries(stages.map((stage) => [stage, spread(stage)])) as BenchResult["ms"];
  return { frames, sizes: [...sizes], ms, framesPerSecond };
}

type BenchRow = Record<keyof BenchResult["ms"], number>;

async function readPictures({ folder, manifest }: InstalledBundle, images: string | undefined): Promise<Uint8Array[]> {
  if (images === undefined) return Promise.all(manifest.golden.map(({ file }) => readFile(join(folder, file))));
  const names = (await readdir(images).catch(() => [])).filter((name) => /\.(jpe?g|png|webp|tiff?|bmp)$/i.test(name)).sort();
  if (names.length === 0) throw new KenpinError("no-pictures", `${images} holds no pictures; name a folder of JPEG or PNG files`);
  return Promise.all(names.slice(0, PICTURES_LIMIT).map((name) => readFile(join(images, name))));
}
