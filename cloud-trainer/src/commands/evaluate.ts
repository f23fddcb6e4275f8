/** `kenpin evaluate`: how well a bundle tells good from defective on pictures it has not learned from; see ../evaluate-bundle.ts. */
import { writeFile } from "node:fs/promises";
import { progressLine } from "@kenpin/page/progress";
import { KenpinError, PartWords, parseAtDoor, Probability } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import type { Plan } from "../evaluate/seed-run.ts";
import { readJsonFile } from "../json-file.ts";

const count = (most: number) => z.coerce.number().int().min(0).max(most);
const Options = z.strictObject({
  bundle: z.string().min(1),
  data: z.string().min(1),
  protocol: z.enum(["words", "references", "fewshot"]).optional(),
  references: count(512).optional(),
  exemplars: count(512).optional(),
  calibration: count(100_000).optional(),
  test: count(1_000_000).optional(),
  seeds: z.coerce.number().int().min(1).max(1000).default(1),
  firstSeed: count(0xffff_ffff).default(1),
  alpha: z.coerce.number().pipe(Probability.gt(0).lt(1)).default(0.1),
  words: z.string().min(1).optional(),
  precision: z.enum(["fp32", "int8"]).default("fp32"),
  rootKey: z.string().min(1).optional(),
  slices: z.string().min(1).optional(),
  by: z.string().min(1).max(200).optional(),
  drawnAtRandom: z.coerce.number().pipe(Probability.gt(0)).optional(),
  controls: z.boolean().default(false),
  retrain: z.coerce.number().min(1).max(86_400).optional(),
  keep: z.string().min(1).optional(),
  scores: z.string().min(1).optional(),
  language: z.enum(["en", "ja"]).default("en"),
  json: z.boolean().default(false),
});
type Options = z.infer<typeof Options>;

/** The published protocol's counts for textures, good and defective together. */
const FEWSHOT = { exemplars: 100, calibration: 100 };
const REFERENCES = 20;

export function evaluateCommand(): Command {
  return new Command("evaluate")
    .description("measure a bundle on labelled pictures: areas, escapes, overkill, maps, coverage, times, beside a plain opponent")
    .requiredOption("--bundle <path>", ".kenpin file, folder of a bundle's files, or folder of weights")
    .requiredOption("--data <set>", "good/ and one folder a kind of defect (train/, test/, ground_truth/ as in MVTec AD), or a .csv")
    .option("--protocol <name>", "words, references or fewshot; by default what the counts below say")
    .option("--references <n>", "good pictures to teach by")
    .option("--exemplars <n>", "few-shot: pictures to teach by, good and defective together, half each")
    .option("--calibration <n>", "pictures to calibrate prediction sets by, half each; without them each is held against all others")
    .option("--test <n>", "pictures to judge, half each; all that are left by default")
    .option("--seeds <n>", "draws of exemplars and test; figures become means with standard errors", "1")
    .option("--first-seed <n>", "the first of them", "1")
    .option("--alpha <p>", "prediction sets may miss the truth this often", "0.1")
    .option("--words <file>", 'for weights: a part sheet (YAML), or JSON {"good": [...], "bad": [...]} of whole sentences')
    .option("--precision <form>", "for weights: fp32 or int8", "fp32")
    .option("--root-key <key|file>", "for a .kenpin file: the hub's public root key")
    .option("--slices <file.csv>", "column file and any others (camera, lot, shift): is one of them worse than the rest?")
    .option("--by <column>", "in a table: the column that must not be split, a slice too")
    .option("--drawn-at-random <p>", "all of it was drawn from the line at random, each part with this chance")
    .option("--controls", "also judge by the same architecture with random weights (for weights)")
    .option("--retrain <seconds>", "for weights: train again on each seed's exemplars for so long")
    .option("--keep <folder>", "keep each seed's scores there; cut off and started again, it goes on where it was")
    .option("--scores <file.csv>", "write every picture's score")
    .option("--language <code>", "en or ja", "en")
    .option("--json", "print the evaluation as JSON")
    .action(async (given: unknown) => {
      const options = parseAtDoor(Options, given, "kenpin evaluate");
      await run(options);
    });
}

async function run(options: Options): Promise<void> {
  const [{ evaluateBundle }, { evaluationText }, { BASE_WORDS }] = await Promise.all([
    import("../evaluate-bundle.ts"),
    import("../evaluate/evaluation-text.ts"),
    import("../samples/words.ts"),
  ]);
  const lines = new Map<string, ReturnType<typeof progressLine>>();
  const onProgress = (what: string, done: number, of: number | null) => {
    const line = lines.get(what) ?? progressLine(what);
    lines.set(what, line);
    line(done, of);
  };
  const words = options.words === undefined ? BASE_WORDS : await readWords(options.bundle, options.words);
  const { evaluation, scores } = await evaluateBundle({
    ...options,
    words,
    plan: planOf(options),
    retrainSeconds: options.retrain ?? null,
    now: new Date(),
    onProgress,
    onNote: (line) => process.stderr.write(`${line}\n`),
  });
  if (options.scores !== undefined) await writeScores(options.scores, scores);
  process.stdout.write(options.json ? `${JSON.stringify(evaluation)}\n` : evaluationText(evaluation, options.language));
}

async function readWords(bundle: string, file: string): Promise<PartWords> {
  const [{ readWeightsFolder }, { readPartSheet }, { ensembleFor, partWords }] = await Promise.all([
    import("../weights-folder.ts"),
    import("../bundle/part-sheet-file.ts"),
    import("@kenpin/clip"),
  ]);
  const weights = await readWeightsFolder(bundle).catch((cause: unknown) => {
    const why = `--words is for a folder of weights, which ${bundle} is not; a bundle decides by its own words`;
    throw new KenpinError("invalid-input", why, { cause });
  });
  if (file.endsWith(".json")) return readJsonFile(PartWords, file);
  return partWords(await readPartSheet(file), ensembleFor(weights.config.text));
}

function planOf({ protocol, references, exemplars, calibration, test, seeds, firstSeed, alpha }: Options): Plan {
  const name = protocol ?? (exemplars !== undefined ? "fewshot" : references ? "references" : "words");
  const strange = (option: string, wanted: string) =>
    new KenpinError("invalid-input", `--${option} belongs to the protocol ${wanted}, not to ${name}; leave one of them out`);
  if (exemplars !== undefined && name !== "fewshot") throw strange("exemplars", "fewshot");
  if (references !== undefined && references > 0 && name !== "references") throw strange("references", "references");
  const few = name === "fewshot";
  return {
    name,
    references: name === "references" ? (references ?? REFERENCES) : 0,
    exemplars: few ? (exemplars ?? FEWSHOT.exemplars) : 0,
    calibration: calibration ?? (few ? FEWSHOT.calibration : 0),
    test: test ?? null,
    seeds: Array.from({ length: seeds }, (_, i) => firstSeed + i),
    alpha,
  };
}

type Row = Awaited<ReturnType<typeof import("../evaluate-bundle.ts").evaluateBundle>>["scores"][number];
const COLUMNS = ["file", "kind", "label", "split", "seed", "score", "outcome"] as const satisfies (keyof Row)[];

async function writeScores(file: string, rows: readonly Row[]): Promise<void> {
  const lines = rows.map((row) => COLUMNS.map((column) => cell(String(row[column]))).join(","));
  await writeFile(file, `${[COLUMNS.join(","), ...lines].join("\n")}\n`).catch((error: NodeJS.ErrnoException) => {
    throw new KenpinError("file-unwritable", `${file} cannot be written (${error.code}); name a file in a folder that is there`, {
      cause: error,
    });
  });
}

function cell(text: string): string {
  return /[",\n\r]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
