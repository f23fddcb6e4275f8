/**
 * A report from end to end: the sheet and its evaluations are read, pictures are drawn where a bundle and a set are named, and the page
 * is written. In: paths. Out: the page's text. Pictures enter the page only where somebody asked for them.
 */
import { readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { startInspector } from "@kenpin/inspector";
import { BundleManifest, errorLine, Evaluation, KenpinError, parseAtDoor, ReportSheet } from "@kenpin/schema";
import { parse } from "yaml";
import { z } from "zod";
import { readJsonFile } from "./json-file.ts";
import { openBundle } from "./opened-bundle.ts";
import { type ReportPicture, reportPage, type ReportParts } from "./report/page.ts";
import type { Language } from "./report/texts.ts";
import { openPictureSet, type Picture } from "./samples/picture-set.ts";
import { thumbnail } from "./samples/thumbnail.ts";
import { BASE_WORDS } from "./samples/words.ts";

export type ReportJob = {
  sheet: string;
  bundle?: string | undefined;
  data?: string | undefined;
  pictures: number;
  language: Language;
  now: Date;
  onProgress: (done: number, of: number) => void;
  onNote: (line: string) => void;
};

const SHEET_LIMIT = 256 * 1024;
const Card = z.looseObject({
  training: z
    .looseObject({
      stages: z.array(
        z.looseObject({
          stage: z.string(),
          samplesSeen: z.number(),
          seconds: z.number(),
          gflops: z.looseObject({ trained: z.number(), teacher: z.number() }),
        }),
      ),
    })
    .optional(),
});
const Origin = BundleManifest.pick({ provenance: true }).strip();

export async function makeReport(job: ReportJob): Promise<string> {
  const sheet = await readSheet(job.sheet);
  const from = (file: string) => resolve(dirname(job.sheet), file);
  const evaluations = await Promise.all(sheet.variants.map(({ evaluation }) => readJsonFile(Evaluation, from(evaluation))));
  const learning = await Promise.all(sheet.learning.map((file) => readJsonFile(Evaluation, from(file))));
  const bundle = job.bundle === undefined ? null : await lookAtBundle(job, evaluations[0] as Evaluation);
  const nothing = { pictures: [], provenance: null, training: null };
  return reportPage({ sheet, evaluations, learning, now: job.now, ...(bundle ?? nothing) }, job.language);
}

async function readSheet(file: string): Promise<ReportSheet> {
  const found = await stat(file).catch((cause: unknown) => {
    throw new KenpinError("sheet-missing", `${file} cannot be read; name a YAML sheet with variants and their evaluations`, { cause });
  });
  if (found.size > SHEET_LIMIT)
    throw new KenpinError("sheet-too-large", `${file} has ${found.size} bytes, at most ${SHEET_LIMIT} are read`);
  let value: unknown;
  try {
    value = parse(await readFile(file, "utf8"), { maxAliasCount: 100 });
  } catch (error) {
    throw new KenpinError("sheet-unreadable", `${file} is no YAML: ${errorLine(error).split("\n")[0]}`, { cause: error });
  }
  return parseAtDoor(ReportSheet, value, file);
}

async function lookAtBundle(job: ReportJob, evaluation: Evaluation): Promise<Pick<ReportParts, "pictures" | "provenance" | "training">> {
  const opened = await openBundle(job.bundle as string, { words: BASE_WORDS, precision: "fp32", onProgress: job.onNote });
  try {
    const { provenance } = await readOrigin(opened.dir, job.bundle as string);
    const card = await readJsonFile(Card, join(opened.dir, "card.json")).catch(() => ({ training: undefined }));
    const pictures = job.data === undefined ? [] : await drawPictures(job, opened, evaluation);
    return { pictures, provenance, training: card.training?.stages ?? null };
  } finally {
    await opened.close();
  }
}

/** A folder staged for the occasion has what decides in its manifest, and its origin in the weights' own card. */
async function readOrigin(dir: string, bundle: string): Promise<z.infer<typeof Origin>> {
  return readJsonFile(Origin, join(dir, "manifest.json")).catch(() => readJsonFile(Origin, join(bundle, "card.json")));
}

async function drawPictures(
  job: ReportJob,
  { dir, thresholds }: Awaited<ReturnType<typeof openBundle>>,
  evaluation: Evaluation,
): Promise<ReportPicture[]> {
  const set = await openPictureSet(job.data as string);
  const chosen = choosePictures(set.pictures, evaluation, job.pictures);
  const inspector = await startInspector({ bundleDir: dir });
  try {
    const { references } = evaluation.protocol.used;
    const shown = new Set(chosen.map(({ key }) => key));
    const good = set.pictures.filter(({ label, key }) => label === "good" && !shown.has(key)).slice(0, references);
    if (good.length > 0)
      await inspector.teach(await Promise.all(good.map(async (one) => ({ frame: await one.bytes(), label: "good" as const }))));
    const out: ReportPicture[] = [];
    for (const [i, picture] of chosen.entries()) {
      const bytes = await picture.bytes();
      const { inspection, map } = await inspector.inspect(bytes, { map: true });
      const outcome = inspection.score >= thresholds.fail ? "fail" : inspection.score < thresholds.pass ? "pass" : "unknown";
      out.push({
        truth: picture.label as "good" | "bad",
        name: picture.key,
        score: inspection.score,
        outcome,
        picture: await thumbnail(bytes, "picture"),
        map: await thumbnail(map, "overlay"),
      });
      job.onProgress(i + 1, chosen.length);
    }
    return out;
  } finally {
    await inspector.close();
  }
}

/** The worst mistakes first, then pictures of every kind in turn. */
function choosePictures(pictures: readonly Picture[], { escapes, overkills }: Evaluation, count: number): Picture[] {
  const byKey = new Map(pictures.map((picture) => [picture.key, picture]));
  const wrong = [...escapes.slice(0, count / 4), ...overkills.slice(0, count / 4)].flatMap(({ picture }) => byKey.get(picture) ?? []);
  const rest = pictures.filter((picture) => picture.label !== null && !wrong.includes(picture));
  const kinds = [...Map.groupBy(rest, ({ defect, label }) => defect ?? label).values()];
  const turns = Array.from({ length: count }, (_, i) => kinds[i % kinds.length]?.[Math.floor(i / kinds.length)]).filter(
    (one) => one !== undefined,
  );
  return [...wrong, ...turns].slice(0, count);
}
