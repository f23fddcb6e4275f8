/**
 * How well maps find defects: pixel AUROC and per-region overlap (up to 30 % false positives) on generated surfaces with masks,
 * for words alone and with good references, and the AUROC of whole frames. Seeds nobody trained or chose a rule on.
 *   node --conditions=kenpin-source test/bench/maps.ts [--model DIR] [--episodes 10] [--seed 77001] [--references 20] [--out FILE]
 * Each episode is one material: references, then 12 frames, half of them bad. Figures are over all pixels and regions of all
 * episodes together (one threshold for all), and as means of the episodes' own (a threshold for each material).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { enlargeMap, type Inspector, startInspector } from "@kenpin/inspector";
import { auroc, createPixelRanking, createRandom, mean } from "@kenpin/stats";
import { stageBundle } from "../../cloud-trainer/src/bundle/stage.ts";
import { drawEpisode, type Episode, goldenPictures } from "../../cloud-trainer/src/samples/pictures.ts";
import { BASE_WORDS } from "../../cloud-trainer/src/samples/words.ts";

const FRAMES = 12;
const { values } = parseArgs({
  options: {
    model: { type: "string", default: join(import.meta.dirname, "../../cloud-trainer/base") },
    episodes: { type: "string", default: "10" },
    seed: { type: "string", default: "77001" },
    references: { type: "string", default: "20" },
    side: { type: "string", default: "250" },
    out: { type: "string" },
  },
});
const [count, references, sidePx] = [Number(values.episodes), Number(values.references), Number(values.side)];

type Figures = { pixelAuroc: number; perRegionOverlap: number; frameAuroc: number };
const WAYS = ["words", "references"] as const;

const folder = mkdtempSync(join(tmpdir(), "kenpin-maps-"));
try {
  const staged = await stageBundle({ modelDir: values.model, words: BASE_WORDS, golden: await goldenPictures(1), outDir: folder });
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(staged));
  const random = createRandom(Number(values.seed));
  const all = Object.fromEntries(WAYS.map((way) => [way, collector()])) as Record<(typeof WAYS)[number], Collector>;
  const materials: ({ material: string } & Record<(typeof WAYS)[number], Figures>)[] = [];
  for (let i = 0; i < count; i++) {
    const episode = await drawEpisode(random, { sidePx, references, frames: FRAMES });
    const inspector = await startInspector({ bundleDir: folder });
    try {
      const words = await judge(inspector, episode, all.words);
      await inspector.teach(episode.references.map((frame) => ({ frame, label: "good" })));
      materials.push({ material: episode.material, words, references: await judge(inspector, episode, all.references) });
    } finally {
      await inspector.close();
    }
    process.stderr.write(`materials: ${i + 1} of ${count}\n`);
  }
  const means = (way: (typeof WAYS)[number]) => {
    const of = (name: keyof Figures) => mean(materials.map((one) => one[way][name]).filter(Number.isFinite));
    return { pixelAuroc: of("pixelAuroc"), perRegionOverlap: of("perRegionOverlap"), frameAuroc: of("frameAuroc") };
  };
  const report = {
    bench: "maps",
    seed: Number(values.seed),
    frames: count * FRAMES,
    regions: all.words.ranking.regions(),
    references,
    together: { words: figuresOf(all.words), references: figuresOf(all.references) },
    meanOfMaterials: { words: means("words"), references: means("references") },
    materials,
  };
  const text = `${JSON.stringify(report, null, 2)}\n`;
  if (values.out) writeFileSync(values.out, text);
  process.stdout.write(text);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

type Collector = { ranking: ReturnType<typeof createPixelRanking>; scores: number[]; labels: (0 | 1)[] };

function collector(): Collector {
  return { ranking: createPixelRanking(), scores: [], labels: [] };
}

async function judge(inspector: Inspector, { frames }: Episode, all: Collector): Promise<Figures> {
  const own = collector();
  const size = { width: sidePx, height: sidePx };
  for (const { png, bad, mask } of frames) {
    const { inspection, heat } = await inspector.heat(png);
    const defective = bad && mask ? Uint8Array.from(mask, (share) => Number(share >= 0.5)) : null;
    for (const to of [own, all]) {
      to.ranking.add({ values: enlargeMap(heat, size), mask: defective, ...size });
      to.scores.push(inspection.score);
      to.labels.push(bad ? 1 : 0);
    }
  }
  return figuresOf(own);
}

function figuresOf({ ranking, scores, labels }: Collector): Figures {
  return { pixelAuroc: ranking.auroc(), perRegionOverlap: ranking.perRegionOverlap(), frameAuroc: auroc(scores, labels) };
}
