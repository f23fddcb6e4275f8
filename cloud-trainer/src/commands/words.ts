/**
 * `kenpin words`: what a part sheet becomes, before any picture is looked at: the rows and their weights, what each Japanese word
 * was taken for, how many sentences stand behind it, and which words this model cannot tell apart. With a picture also what
 * WinCLIP's published windows make of it by these words.
 */
import { resolve } from "node:path";
import type { EmbeddedSheet } from "@kenpin/clip";
import { promptDirections } from "@kenpin/inspector";
import { progressLine } from "@kenpin/page/progress";
import { type PartSheet, parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import { readPartSheet } from "../bundle/part-sheet-file.ts";
import type { WeightsFolder } from "../weights-folder.ts";

const BASE_MODEL = resolve(import.meta.dirname, "../../base");
const Options = z.strictObject({ model: z.string().min(1), picture: z.string().min(1).optional(), json: z.boolean().default(false) });

export function wordsCommand(): Command {
  return new Command("words")
    .description("show what a part sheet's words become, and warn where a model cannot tell good words from bad ones")
    .argument("<sheet>", "part sheet, a YAML file: part and object at least, good and bad words in English or Japanese")
    .option("--model <dir>", "weights' folder; the shipped base by default", BASE_MODEL)
    .option("--picture <file>", "also look at a picture by WinCLIP's windows: slow, a reference to compare with, never run on a line")
    .option("--json", "print {part, object, rows, separation, warnings, picture?}")
    .action(async (file: string, given: unknown) => {
      const { model, picture, json } = parseAtDoor(Options, given, "kenpin words");
      const sheet = await readPartSheet(file);
      const [{ readWeightsFolder }, { embedSheet, withTextModel }] = await Promise.all([
        import("../weights-folder.ts"),
        import("../bundle/embed-words.ts"),
      ]);
      const weights = await readWeightsFolder(model);
      const embedded = await withTextModel(weights, (textModel) => embedSheet(weights, sheet, textModel));
      const seen = picture === undefined ? null : await lookAt(picture, weights, embedded);
      if (json) process.stdout.write(`${JSON.stringify({ ...asJson(sheet, embedded), ...(seen && { picture: seen }) })}\n`);
      else process.stdout.write(asText(sheet, embedded) + (seen ? pictureText(seen) : ""));
    });
}

/** The hottest place as the cell's upper left corner and side, in pixels of the tiled picture. */
async function lookAt(file: string, weights: WeightsFolder, { prompts }: EmbeddedSheet) {
  const [{ openWinclip }, { readImageFile }] = await Promise.all([import("../evaluate/winclip.ts"), import("../import/embed.ts")]);
  const winclip = await openWinclip(weights, prompts);
  try {
    const { map, tiling, ...figures } = await winclip.look(await readImageFile(file), progressLine("tiles by windows"));
    const at = map.values.reduce((best, value, i) => (value > (map.values[best] as number) ? i : best), 0);
    const { columns, cellPx } = map;
    const hottest = { x: (at % columns) * cellPx, y: Math.floor(at / columns) * cellPx, side: cellPx, value: map.values[at] as number };
    return { file, ...figures, tiles: tiling.count, hottest };
  } finally {
    await winclip.close();
  }
}

function pictureText({ file, score, classScore, tiles, windows, ms, hottest }: Awaited<ReturnType<typeof lookAt>>): string {
  const place = `hottest at ${Math.round(hottest.x)},${Math.round(hottest.y)} (${hottest.value.toFixed(3)})`;
  const cost = `${tiles} × ${windows} windows in ${ms.windows.toFixed(0)} ms, one pass over the same tiles in ${ms.onePass.toFixed(0)} ms`;
  return `${file}: by windows ${score.toFixed(3)}, class token ${classScore.toFixed(3)}, ${place}; ${cost}\n`;
}

function asJson({ part }: PartSheet, embedded: EmbeddedSheet) {
  const { object, rows, warnings } = embedded;
  return { part, object, rows, separation: separationOf(embedded), warnings };
}

/** Cosine of the good and the bad direction: near 1, the words say nothing. */
function separationOf({ prompts }: EmbeddedSheet): number {
  const { difference } = promptDirections(prompts);
  return 1 - difference.reduce((sum, value) => sum + value * value, 0) / 2;
}

function asText({ part }: PartSheet, embedded: EmbeddedSheet): string {
  const { object, rows, warnings } = embedded;
  const width = Math.max(...rows.map(({ word }) => columns(word)));
  const lines = rows.map(({ side, word, text, weight, from, texts }) => {
    const padded = word + " ".repeat(width - columns(word));
    return `  ${side.padEnd(4)}  ${weight.toFixed(2).padStart(6)}  ${padded}  ${text}  (${from}, sentences: ${texts.length})`;
  });
  const head = `${part}: ${object}; cosine of good and bad ${separationOf(embedded).toFixed(3)}`;
  return `${[head, ...lines, ...warnings.map((warning) => `warning: ${warning}`)].join("\n")}\n`;
}

/** A Japanese letter is two columns wide on a terminal. */
function columns(text: string): number {
  return [...text].reduce(
    (sum, letter) => sum + (/[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60]/.test(letter) ? 2 : 1),
    0,
  );
}
