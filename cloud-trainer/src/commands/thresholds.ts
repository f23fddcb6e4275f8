/**
 * `kenpin thresholds`: where to cut, from scores of labelled pictures or of good ones alone; what may be promised, what is wanting,
 * and the curve of escape against overkill to choose by hand from.
 */
import { readFile, stat } from "node:fs/promises";
import { type CalibrationScores, chooseThresholds, type TradeOffPoint, tradeOff } from "@kenpin/inspector";
import { errorLine, KenpinError, parseAtDoor, type Thresholds } from "@kenpin/schema";
import { Command } from "commander";
import { parse } from "csv-parse/sync";
import { z } from "zod";

const Share = z.coerce.number().pipe(z.number().gt(0).lt(1));
const Options = z.strictObject({
  scores: z.string().min(1),
  split: z.string().min(1).max(64).optional(),
  alphaBad: Share.default(0.05),
  alphaGood: Share.default(0.1),
  confidence: Share.optional(),
  json: z.boolean().default(false),
});
/** What a row must have; a table of `kenpin evaluate --scores` has more. */
const Row = z.object({ label: z.string(), score: z.coerce.number().min(0).max(1), split: z.string().optional() });

const LIMIT_BYTES = 64 * 1024 ** 2;
const BAD = /^(bad|defective|ng|1)$/i;
const GOOD = /^(good|ok|0)$/i;
/** As a bundle has them before anything was measured. */
const START: Thresholds = { pass: 0.35, cut: 0.5, fail: 0.65, chosenBy: "nothing was measured" };
const BAR = 40;

export function thresholdsCommand(): Command {
  return new Command("thresholds")
    .description("choose where to pass and where to fail from scores of randomly drawn pictures, and say what may be promised")
    .requiredOption("--scores <file.csv>", "columns label (good or bad) and score; kenpin evaluate --scores writes one")
    .option("--split <name>", "only rows of this split, where the table has that column (calibration, test)")
    .option("--alpha-bad <share>", "at most this share of bad parts may pass", "0.05")
    .option("--alpha-good <share>", "at most this share of good parts may be stopped", "0.1")
    .option("--confidence <share>", "promise it of this very calibration with this confidence; without it on average")
    .option("--json", "print thresholds and curve as JSON")
    .action(async (given: unknown) => {
      const options = parseAtDoor(Options, given, "kenpin thresholds");
      const scores = await readScores(options.scores, options.split);
      const { alphaBad, alphaGood, confidence = null } = options;
      const thresholds = chooseThresholds(scores, START, { alphaBad, alphaGood, confidence });
      const curve = tradeOff(scores, options.json ? 100 : 20);
      process.stdout.write(options.json ? `${JSON.stringify({ thresholds, curve })}\n` : described(thresholds, curve));
    });
}

async function readScores(file: string, split: string | undefined): Promise<CalibrationScores> {
  const found = await stat(file).catch((cause: unknown) => {
    throw new KenpinError("file-unreadable", `${file} cannot be read; expected a CSV file with columns label and score`, { cause });
  });
  if (found.size > LIMIT_BYTES) throw new KenpinError("table-malformed", `${file} has more than ${LIMIT_BYTES / 1024 ** 2} MB`);
  const rows = rowsOf(file, await readFile(file, "utf8")).map((row, i) => parseAtDoor(Row, row, `${file}, row ${i + 2}`));
  const own = split === undefined ? rows : rows.filter((row) => row.split === split);
  const odd = own.find(({ label }) => !BAD.test(label) && !GOOD.test(label));
  if (odd) throw new KenpinError("table-malformed", `${file} has the label "${odd.label.slice(0, 40)}"; labels are good and bad`);
  if (own.length === 0) {
    const which = split === undefined ? "" : ` of the split ${split}`;
    throw new KenpinError("nothing-to-judge-by", `${file} has no row${which}; expected columns label and score`);
  }
  const of = (label: RegExp) => own.filter((row) => label.test(row.label)).map(({ score }) => score);
  return { good: of(GOOD), bad: of(BAD) };
}

function rowsOf(file: string, text: string): unknown[] {
  try {
    return parse(text, { bom: true, columns: true, skip_empty_lines: true, trim: true });
  } catch (error) {
    throw new KenpinError("table-malformed", `${file} cannot be read as a table: ${errorLine(error).split("\n")[0]}`, { cause: error });
  }
}

function described({ pass, cut, fail, chosenBy, promise }: Thresholds, curve: TradeOffPoint[]): string {
  const percent = (share: number) => `${(100 * share).toFixed(1).replace(/\.0$/, "")} %`;
  const bar = (share: number | null, sign: string) => (share === null ? "" : sign.repeat(Math.round(share * BAR))).padEnd(BAR);
  const lines = [
    `pass below ${pass.toFixed(4)}, fail from ${fail.toFixed(4)} on, cut ${cut.toFixed(4)}: ${chosenBy}`,
    ...(promise ? [sentence("bad parts pass", promise.bad), sentence("good parts are stopped", promise.good)] : []),
    "",
    `cut    ${"bad that pass".padEnd(BAR)} good that are stopped`,
    ...curve.map((point) => `${point.cut.toFixed(2)}   ${bar(point.escape, "x")} ${bar(point.overkill, "o")}`.trimEnd()),
  ];
  return `${lines.join("\n")}\n`;

  function sentence(what: string, { alpha, kept, missing, samples }: NonNullable<Thresholds["promise"]>["bad"]): string {
    const sure = promise?.confidence ? `, with ${percent(promise.confidence)} confidence` : ", on average over calibrations";
    if (kept) return `promised: at most ${percent(alpha)} of ${what}${sure} (${samples} samples)`;
    if (missing > 0) return `not promised: that at most ${percent(alpha)} of ${what}; ${missing} more randomly drawn samples are wanting`;
    return `not promised: that at most ${percent(alpha)} of ${what}; no cut leaves so few`;
  }
}
