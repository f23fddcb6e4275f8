/**
 * The hub's labelled samples as a set: the job.json that it writes for each run. Pictures lie in the hub's own store and
 * are checked against the digest that was labelled. Only what chance drew may judge; the chance is recorded with each.
 */
import { basename, dirname } from "node:path";
import { KenpinError } from "@kenpin/schema";
import { readJsonFile } from "../../json-file.ts";
import { TuneJob } from "../../tune-job.ts";
import { openPlace, type Picture, type PictureSet, pictureSet, type ReadOptions } from "../picture.ts";

export async function readHubJob(file: string, options: ReadOptions): Promise<PictureSet> {
  const { samples } = await readJsonFile(TuneJob, file);
  const pictures = new Map<string, Picture>();
  for (const [i, sample] of samples.entries()) {
    options.signal?.throwIfAborted();
    const { sha256, label, drawProbability } = sample;
    const placed = await openPlace({ file: sample.file, name: sample.file });
    if (placed.sha256 !== sha256) throw new KenpinError("picture-changed", `${sample.file} does not hold the bytes that were labelled`);
    const reason = sample.reason === "random" ? "random" : "chosen";
    pictures.set(sha256, { ...NOTHING, ...placed, key: sha256, label, reason, drawProbability });
    options.onProgress?.(i + 1, samples.length);
  }
  return pictureSet({ name: basename(dirname(file)), root: null, pictures: [...pictures.values()] });
}

const NOTHING = { defect: null, captions: [], mask: null, group: null, split: null };
