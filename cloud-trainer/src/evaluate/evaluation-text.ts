/**
 * An evaluation as a person reads it in a terminal, in English or Japanese. In: the contract's object. Out: lines of text; figures in
 * per cent, areas with four digits, mean ± standard error where there are several seeds.
 */
import type { Evaluation, ImageFigures } from "@kenpin/schema";

type Language = "en" | "ja";
type Row = { name: string; image: ImageFigures; errors: Record<keyof ImageFigures, number | null> | null };

const WORDS = {
  en: {
    good: "good",
    defective: "defective",
    precision: "parameters",
    test: "test",
    taught: "taught",
    references: "good references",
    exemplars: "exemplars",
    calibration: "calibration",
    seeds: "seeds",
    columns: ["", "AUROC", "AP", "F1 max", "accuracy", "escapes", "overkill"],
    model: "this bundle",
    baseline: "plain numbers",
    random: "random weights",
    pixel: "Maps",
    coverage: "Prediction sets",
    decided: "decided without a person",
    calibrationError: "calibration error",
    latency: "Milliseconds a picture, half / 95 %",
    kinds: "By kind of defect",
    gaps: "Slices",
    findings: "Data",
    nothing: "nothing to complain of",
    leftOut: "left out",
    notes: "Notes",
    escaped: "escapes",
    beaten: "This bundle tells the parts apart better than the plain numbers do.",
    notBeaten: "Plain numbers tell the parts apart as well or better: on these pictures the bundle is not yet useful.",
    stages: { decode: "decode", preprocess: "prepare", infer: "infer", map: "map", decide: "decide", total: "total" },
  },
  ja: {
    good: "良品",
    defective: "不良品",
    precision: "パラメータ",
    test: "試験",
    taught: "学習",
    references: "良品見本",
    exemplars: "見本",
    calibration: "較正",
    seeds: "シード",
    columns: ["", "AUROC", "AP", "最大F1", "正解率", "見逃し", "過検出"],
    model: "このバンドル",
    baseline: "単純な数値",
    random: "乱数の重み",
    pixel: "マップ",
    coverage: "予測集合の被覆率",
    decided: "人の判断なしで決まる割合",
    calibrationError: "較正誤差",
    latency: "1枚あたりのミリ秒(中央値/95%)",
    kinds: "不良の種類別",
    gaps: "区分別の偏り",
    findings: "データ",
    nothing: "問題は見つかりません",
    leftOut: "除外",
    notes: "注記",
    escaped: "見逃し",
    beaten: "このバンドルは単純な数値よりもよく見分けています。",
    notBeaten: "単純な数値でも同じかそれ以上に見分けられます。この画像では、バンドルはまだ役に立つとは言えません。",
    stages: { decode: "復号", preprocess: "前処理", infer: "推論", map: "マップ", decide: "判定", total: "合計" },
  },
} as const;

export function evaluationText(evaluation: Evaluation, language: Language): string {
  const words = WORDS[language];
  const { bundle, model, data, protocol, pixel, coverage, latencyMs, kinds, slices, findings } = evaluation;
  const { used } = protocol;
  const taught =
    protocol.name === "fewshot"
      ? `${words.exemplars} ${used.exemplars}`
      : used.references > 0
        ? `${words.references} ${used.references}`
        : null;
  const parts = [
    taught,
    `${words.calibration} ${used.calibration}`,
    `${words.test} ${used.testGood} + ${used.testDefective}`,
    `${words.seeds} ${protocol.seeds.length}`,
  ];
  const lines = [
    `${bundle.name}: ${(model.parameters / 1e6).toFixed(2)} M ${words.precision}, ${model.precision}`,
    `${data.name}: ${words.good} ${data.good}, ${words.defective} ${data.defective} (${Object.entries(data.kinds)
      .map(([kind, n]) => `${kind} ${n}`)
      .join(", ")})${data.leftOut.length > 0 ? `, ${words.leftOut} ${data.leftOut.length}` : ""}`,
    parts.filter((part) => part !== null).join(", "),
    "",
    ...table(rowsOf(evaluation, language), words.columns),
    ...comparison(evaluation, words),
    "",
  ];
  if (pixel) lines.push(`${words.pixel}: AUROC ${area(pixel.auroc)}, AU-PRO ${area(pixel.aupro)}`);
  lines.push(
    `${words.coverage} (≥ ${share(1 - protocol.alpha)}): ${share(coverage.overall)}, ${words.good} ${share(coverage.good)}, ${words.defective} ${share(coverage.defective)}; ${words.decided} ${share(evaluation.decidedRatio)}`,
    `${words.calibrationError}: ${area(evaluation.calibrationError)}`,
    `${words.latency}: ${Object.entries(words.stages)
      .map(([stage, name]) => `${name} ${spread(latencyMs[stage as keyof typeof latencyMs])}`)
      .join(", ")}`,
    "",
    `${words.kinds}: ${kinds.map(({ kind, auroc, escapeRate }) => `${kind} ${area(auroc)} (${words.escaped} ${share(escapeRate)})`).join(", ")}`,
    ...slices.map(({ sentence }) => `${words.gaps}: ${sentence[language]}`),
    ...(findings.length === 0
      ? [`${words.findings}: ${words.nothing}`]
      : findings.map(({ severity, message, advice }) => `${words.findings} (${severity}): ${message}; ${advice}`)),
    ...protocol.notes.map((note) => `${words.notes}: ${note[language]}`),
  );
  return `${lines.join("\n")}\n`;
}

function rowsOf({ image, standardErrors, baseline, randomWeights }: Evaluation, language: Language): Row[] {
  const { model, baseline: plain, random } = WORDS[language];
  const others = [
    { name: plain, opponent: baseline },
    { name: random, opponent: randomWeights },
  ].flatMap(({ name, opponent }) => (opponent ? [{ name, image: opponent.image, errors: opponent.standardErrors?.image ?? null }] : []));
  return [{ name: model, image, errors: standardErrors?.image ?? null }, ...others];
}

/** By the areas, which no threshold moves; as good is not better. */
function comparison({ image, baseline }: Evaluation, { beaten, notBeaten }: (typeof WORDS)[Language]): string[] {
  if (image.auroc === null || !baseline || baseline.image.auroc === null) return [];
  return [image.auroc > baseline.image.auroc ? beaten : notBeaten];
}

function table(rows: readonly Row[], header: readonly string[]): string[] {
  const cells = rows.map(({ name, image, errors }) => [
    name,
    ...(["auroc", "averagePrecision", "f1Max"] as const).map((key) => withError(area, image[key], errors?.[key])),
    ...(["accuracy", "escapeRate", "overkillRate"] as const).map((key) => withError(share, image[key], errors?.[key])),
  ]);
  const all = [[...header], ...cells];
  const widths = header.map((_, column) => Math.max(...all.map((row) => widthOf(row[column] as string))));
  return all.map((row) =>
    row
      .map((cell, column) => cell + " ".repeat((widths[column] as number) - widthOf(cell)))
      .join("  ")
      .trimEnd(),
  );
}

/** Japanese letters take two places in a terminal. */
function widthOf(text: string): number {
  return [...text].reduce((sum, letter) => sum + (/[\u3000-\u9fff\uff00-\uff60]/.test(letter) ? 2 : 1), 0);
}

function withError(format: (value: number | null) => string, value: number | null, error: number | null | undefined): string {
  return error === null || error === undefined ? format(value) : `${format(value)} ± ${format(error)}`;
}

function area(value: number | null): string {
  return value === null ? "–" : value.toFixed(4);
}

function share(value: number | null): string {
  return value === null ? "–" : `${(value * 100).toFixed(1)} %`;
}

function spread({ p50, p95 }: { p50: number; p95: number }): string {
  return `${p50.toFixed(1)}/${p95.toFixed(1)}`;
}
