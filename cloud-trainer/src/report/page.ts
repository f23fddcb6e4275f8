/**
 * The report as one self-contained HTML page: no script, font or picture from elsewhere, and a content policy that allows none.
 * In: what was read (report.ts's ReportParts) and a language. Out: the page's text. Everything that came from a file is escaped.
 */
import type { Evaluation, Provenance, ReportSheet, ReportVariant } from "@kenpin/schema";
import { exactInterval } from "@kenpin/stats";
import type { z } from "zod";
import { escapeText, lineChart } from "./charts.ts";
import { STYLE } from "./page-style.ts";
import { type TotalCost, totalCost } from "./total-cost.ts";
import { type Language, TEXTS, type Texts } from "./texts.ts";

export type ReportPicture = {
  truth: "good" | "bad";
  name: string;
  score: number;
  outcome: "pass" | "unknown" | "fail";
  /** data: URIs. */
  picture: string;
  map: string;
};
type TrainedStage = { stage: string; samplesSeen: number; seconds: number; gflops: { trained: number; teacher: number } };
export type ReportParts = {
  sheet: ReportSheet;
  /** In the sheet's order. */
  evaluations: Evaluation[];
  learning: Evaluation[];
  pictures: ReportPicture[];
  provenance: z.infer<typeof Provenance>[] | null;
  training: TrainedStage[] | null;
  now: Date;
};
type Variant = { variant: ReportVariant; evaluation: Evaluation };

const LEVEL = 0.95;
/** Fewer test pictures cannot show a rate of a per cent. */
const FEW_TESTS = 200;

export function reportPage(parts: ReportParts, language: Language): string {
  const t = TEXTS[language];
  const { sheet, evaluations, now } = parts;
  const variants = sheet.variants.map((variant, i) => ({ variant, evaluation: evaluations[i] as Evaluation }));
  const sections = [
    section(t.targets, targets(variants, sheet, t)),
    section(t.figures, figures(variants, t)),
    parts.learning.length > 1 ? section(t.learning, learning(parts.learning, t)) : "",
    section(t.tradeOff, tradeOff(variants, t)),
    section(t.verdicts, verdicts(parts.pictures, t)),
    section(t.costs, costs(variants, sheet, t)),
    section(t.slices, slices(variants, language)),
    parts.training ? section(t.training, training(parts.training, t)) : "",
    parts.provenance ? section(t.licences, licences(parts.provenance, t)) : "",
    section(t.data, data(variants, t)),
    section(t.unmeasured, unmeasured(variants, parts, t)),
  ];
  const title = escapeText(sheet.title);
  return `<!doctype html>
<html lang="${language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="content-security-policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${title}: ${t.heading}</title><style>${STYLE}</style></head><body>
<header><h1>${title}</h1><p>${t.heading} · ${t.made} <time>${now.toISOString().slice(0, 16).replace("T", " ")} UTC</time></p></header>
<main>${sections.join("\n")}</main>
<script>${script(variants, t)}</script></body></html>
`;
}

function section(heading: string, body: string): string {
  return `<section><h2>${heading}</h2>${body}</section>`;
}

function table(header: string[], rows: string[][], attributes = ""): string {
  const cells = (tag: string, row: string[]) =>
    `<tr>${row.map((cell, i) => `<${i === 0 && tag === "td" ? "th scope=row" : tag}>${cell}</${i === 0 && tag === "td" ? "th" : tag}>`).join("")}</tr>`;
  return `<div class="wide"><table ${attributes}><thead>${cells("th", header)}</thead><tbody>${rows.map((row) => cells("td", row)).join("")}</tbody></table></div>`;
}

function percent(value: number | null, error?: number | null): string {
  if (value === null) return "–";
  const digits = value > 0.99 || value < 0.01 ? 2 : 1;
  return `${(100 * value).toFixed(digits)} %${error ? ` ± ${(100 * error).toFixed(1)}` : ""}`;
}

/** Met, missed, or neither: where the interval (95 %) holds the target, so few pictures cannot tell. */
function targets(variants: Variant[], { targets: wanted }: ReportSheet, t: Texts): string {
  const rates = ["accuracy", "auroc", "escapeRate", "overkillRate"] as const;
  const rows = variants.flatMap(({ variant, evaluation }) => [
    ...rates.flatMap((key) => {
      const target = wanted[key];
      if (target === undefined) return [];
      const more = key === "accuracy" || key === "auroc";
      const value = evaluation.image[key];
      return [
        row(
          variant.name,
          t[key],
          `${more ? "≥" : "≤"} ${percent(target)}`,
          percent(value, evaluation.standardErrors?.image[key]),
          judged(value, boundsOf(evaluation, key), target, more),
        ),
      ];
    }),
    ...(wanted.latencyMs === undefined
      ? []
      : [
          row(
            variant.name,
            t.latencyMs,
            `≤ ${wanted.latencyMs} ms`,
            `${evaluation.latencyMs.total.p95.toFixed(1)} ms`,
            evaluation.latencyMs.total.p95 <= wanted.latencyMs,
          ),
        ]),
  ]);
  return rows.length === 0 ? `<p>${t.noTargets}</p>` : table([t.variant, "", t.target, t.measured, ""], rows);

  function row(name: string, what: string, target: string, measured: string, verdict: boolean | null): string[] {
    const [word, kind] = verdict === null ? [t.notShown, "open"] : verdict ? [`✓ ${t.met}`, "yes"] : [`✗ ${t.missed}`, "no"];
    return [escapeText(name), what, target, measured, `<strong class="${kind}">${word}</strong>`];
  }
}

function judged(value: number | null, bounds: { low: number; high: number } | null, target: number, more: boolean): boolean | null {
  if (value === null || !bounds) return null;
  if (more) return bounds.low >= target ? true : value < target ? false : null;
  return bounds.high <= target ? true : value > target ? false : null;
}

/** The exact interval of what was counted; over seeds, of as many pictures as there are to draw from. AUROC: its own, or by seeds. */
function boundsOf(
  { image, intervals, standardErrors, protocol: { used, seeds }, data: set }: Evaluation,
  key: "accuracy" | "auroc" | "escapeRate" | "overkillRate",
): { low: number; high: number } | null {
  const value = image[key];
  if (value === null) return null;
  if (key === "auroc") {
    const error = standardErrors?.image.auroc;
    return intervals?.image.auroc ?? (error ? { low: value - 2 * error, high: value + 2 * error } : null);
  }
  const tested = { accuracy: used.test, escapeRate: used.testDefective, overkillRate: used.testGood }[key];
  const there = { accuracy: set.good + set.defective, escapeRate: set.defective, overkillRate: set.good }[key];
  const of = Math.min(tested * seeds.length, there);
  return of === 0 ? null : exactInterval({ count: Math.round(value * of), of }, LEVEL);
}

function taughtBy({ protocol: { retrained, used } }: Evaluation, t: Texts): string {
  if (retrained) return t.retrained(used.exemplars);
  if (used.exemplars > 0) return t.exemplars(used.exemplars);
  return used.references > 0 ? t.references(used.references) : t.words;
}

function figures(variants: Variant[], t: Texts): string {
  const header = [t.variant, t.taught, t.accuracy, t.auroc, t.escapeRate, t.overkillRate, t.latencyMs, t.precision];
  const rows = variants.flatMap(({ variant, evaluation }) => {
    const line = (
      name: string,
      image: Evaluation["image"],
      errors: Partial<Record<"accuracy" | "auroc" | "escapeRate" | "overkillRate", number | null>> | undefined,
      rest: string[],
    ) => [
      escapeText(name),
      ...rest.slice(0, 1),
      percent(image.accuracy, errors?.accuracy),
      image.auroc === null ? "–" : `${image.auroc.toFixed(4)}${errors?.auroc ? ` ± ${errors.auroc.toFixed(4)}` : ""}`,
      percent(image.escapeRate, errors?.escapeRate),
      percent(image.overkillRate, errors?.overkillRate),
      ...rest.slice(1),
    ];
    const { model, latencyMs, baseline, randomWeights } = evaluation;
    const own = line(variant.name, evaluation.image, evaluation.standardErrors?.image, [
      taughtBy(evaluation, t),
      latencyMs.total.p95.toFixed(1),
      `${(model.parameters / 1e6).toFixed(1)} M, ${model.precision}`,
    ]);
    const others = [
      ...(baseline ? [line(`↳ ${t.baseline}`, baseline.image, baseline.standardErrors?.image, ["", "", ""])] : []),
      ...(randomWeights ? [line(`↳ ${t.random}`, randomWeights.image, randomWeights.standardErrors?.image, ["", "", ""])] : []),
    ];
    return [own, ...others];
  });
  const beaten = variants.filter(({ evaluation: { image, baseline } }) => (baseline?.image.accuracy ?? 0) > (image.accuracy ?? 1));
  const warnings = beaten.map(({ variant }) => `<p class="no"><strong>${escapeText(variant.name)}:</strong> ${t.better}</p>`);
  return table(header, rows) + warnings.join("");
}

function learning(evaluations: Evaluation[], t: Texts): string {
  const sorted = [...evaluations].sort((a, b) => a.protocol.used.exemplars - b.protocol.used.exemplars);
  const of = (pick: (evaluation: Evaluation) => { image: Evaluation["image"]; errors: number | null | undefined } | null) =>
    sorted.flatMap((evaluation) => {
      const seen = pick(evaluation);
      const accuracy = seen?.image.accuracy;
      return typeof accuracy === "number" ? [{ x: evaluation.protocol.used.exemplars, y: accuracy, error: seen?.errors ?? null }] : [];
    });
  const lines = [
    { name: "kenpin", points: of(({ image, standardErrors }) => ({ image, errors: standardErrors?.image.accuracy })) },
    {
      name: t.baseline,
      points: of(({ baseline }) => baseline && { image: baseline.image, errors: baseline.standardErrors?.image.accuracy }),
    },
  ].filter(({ points }) => points.length > 0);
  const all = lines.flatMap(({ points }) => points);
  return lineChart({
    lines,
    x: t.labelled,
    y: t.accuracy,
    xMax: Math.max(...all.map(({ x }) => x)),
    yMin: Math.floor(10 * Math.min(0.5, ...all.map(({ y }) => y))) / 10,
    yMax: 1,
  });
}

function tradeOff(variants: Variant[], t: Texts): string {
  const lines = variants
    .filter(({ evaluation }) => evaluation.tradeOff.length > 1)
    .map(({ variant, evaluation }) => ({
      name: variant.name,
      points: evaluation.tradeOff.map((point) => ({ x: point.overkillRate, y: point.escapeRate })),
    }));
  return lines.length === 0 ? `<p>–</p>` : lineChart({ lines, x: t.overkillRate, y: t.escapeRate, xMax: 1, yMin: 0, yMax: 1 });
}

function verdicts(pictures: ReportPicture[], t: Texts): string {
  if (pictures.length === 0) return `<p>${t.noPictures}</p>`;
  const shown = pictures.map(({ truth, name, score, outcome, picture, map }) => {
    const right = outcome === "unknown" ? "open" : (outcome === "fail") === (truth === "bad") ? "yes" : "no";
    const caption = `<strong class="${right}">${outcome.toUpperCase()}</strong> · ${t.truth[truth]} · ${t.score} ${score.toFixed(2)}<br><small>${escapeText(name)}</small>`;
    return `<figure><span class="frame"><img src="${picture}" alt="${escapeText(name)}"><img src="${map}" alt=""></span><figcaption>${caption}</figcaption></figure>`;
  });
  return `<p>${t.verdictsNote}</p><div class="pictures">${shown.join("")}</div>`;
}

type CostField = keyof Texts["fields"];
const SHARED: CostField[] = ["years", "partsPerYear", "defectRate", "escapeCost", "overkillCost", "hoursPerYear", "energyPrice", "labourPerHour", "secondsPerLabel", "cloudPerHour"]; // biome-ignore format: a list
const OWN: CostField[] = ["devices", "devicePrice", "watts", "setupHours", "labels", "labelsPerYear", "cloudHours", "cloudHoursPerYear"];
const RATES = ["escapeRate", "overkillRate"] as const;

function costs(variants: Variant[], { costs: prices, currency }: ReportSheet, t: Texts): string {
  const field = (id: string, label: string, value: number) =>
    `<label for="${id}">${label}</label><input id="${id}" type="number" min="0" step="any" value="${value}">`;
  const shared = SHARED.map((key) => field(`cost-${key}`, t.fields[key], prices[key as keyof typeof prices]));
  const inputs = [...OWN, ...RATES].map((key) => [
    key in t.fields ? t.fields[key as CostField] : t[key as "escapeRate"],
    ...variants.map(({ variant, evaluation }, i) => {
      const value = RATES.includes(key as "escapeRate") ? (evaluation.image[key as "escapeRate"] ?? 0) : variant[key as "devices"];
      return `<input aria-label="${escapeText(variant.name)}: ${key in t.fields ? t.fields[key as CostField] : t[key as "escapeRate"]}" id="v${i}-${key}" type="number" min="0" step="any" value="${+value.toFixed(6)}">`;
    }),
  ]);
  const sums = variants.map(({ variant, evaluation }) => totalCost(prices, variant, evaluation.image));
  const totals = (Object.keys(t.kinds) as (keyof TotalCost)[]).map((kind) => [
    `<span class="${kind}">${t.kinds[kind]}</span>`,
    ...sums.map((sum, i) => `<output id="t${i}-${kind}" class="${kind}">${money(sum[kind])}</output>`),
  ]);
  const names = variants.map(({ variant }) => escapeText(variant.name));
  return `<p>${t.costsNote}</p><form id="costs" autocomplete="off"><div class="fields">${shared.join("")}</div>
${table(["", ...names], inputs)}</form>
<h3>${t.over(prices.years)}, ${escapeText(currency)}</h3>${table(["", ...names], totals, 'class="money"')}`;
}

function money(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** The page counts with the very function the report was made with. */
function script(variants: Variant[], t: Texts): string {
  const fields = JSON.stringify({
    shared: SHARED,
    own: OWN,
    rates: RATES,
    kinds: Object.keys(t.kinds),
    variants: variants.length,
  }).replaceAll("<", "\\u003c");
  return `const totalCost = ${totalCost.toString()};
const fields = ${fields};
const number = (id) => Math.max(0, Number(document.getElementById(id).value) || 0);
const read = (keys, prefix) => Object.fromEntries(keys.map((key) => [key, number(prefix + key)]));
document.getElementById("costs").addEventListener("input", () => {
  const costs = read(fields.shared, "cost-");
  for (let i = 0; i < fields.variants; i++) {
    const sums = totalCost(costs, read(fields.own, "v" + i + "-"), read(fields.rates, "v" + i + "-"));
    for (const kind of fields.kinds) document.getElementById("t" + i + "-" + kind).value = Math.round(sums[kind]).toLocaleString("en");
  }
});`;
}

function slices(variants: Variant[], language: Language): string {
  const rows = variants.flatMap(({ variant, evaluation }) =>
    evaluation.slices.map(({ column, sentence }) => [escapeText(variant.name), escapeText(column), escapeText(sentence[language])]),
  );
  return rows.length === 0 ? "<p>–</p>" : table(["", "", ""], rows);
}

function training(stages: TrainedStage[], t: Texts): string {
  const rows = stages.map(({ stage, samplesSeen, seconds, gflops }) => [
    escapeText(stage),
    samplesSeen.toLocaleString("en"),
    Math.round(seconds).toLocaleString("en"),
    (gflops.trained + gflops.teacher).toExponential(2),
    gflops.teacher.toExponential(2),
  ]);
  return table([t.stage, t.samples, t.seconds, t.gflops, t.teacherShare], rows);
}

function licences(rows: NonNullable<ReportParts["provenance"]>, t: Texts): string {
  return table(
    [t.name, t.licence, t.origin, "sha256"],
    rows.map(({ name, licence, source, sha256 }) => [
      escapeText(name),
      escapeText(licence),
      escapeText(source),
      `<code>${sha256?.slice(0, 16) ?? ""}</code>`,
    ]),
  );
}

function data(variants: Variant[], t: Texts): string {
  const sets = new Map(variants.map(({ evaluation }) => [evaluation.data.sha256, evaluation]));
  return [...sets.values()]
    .map(({ data: set, findings }) => {
      const kinds = Object.entries(set.kinds).map(([kind, count]) => `${escapeText(kind)} ${count}`);
      const found = findings.map(
        ({ count, message, advice }) => `<li>${count > 0 ? `${count} × ` : ""}${escapeText(message)} ${escapeText(advice)}</li>`,
      );
      const faults = found.length === 0 ? `<p>${t.findings}: ${t.nothingFound}</p>` : `<p>${t.findings}:</p><ul>${found.join("")}</ul>`;
      return `<p><strong>${escapeText(set.name)}</strong>: ${t.truth.good} ${set.good}, ${t.truth.bad} ${set.defective} (${kinds.join(", ")}) · <code>${set.sha256.slice(0, 16)}</code></p>${faults}`;
    })
    .join("");
}

function unmeasured(variants: Variant[], { provenance, training: trained }: ReportParts, t: Texts): string {
  const gaps = variants.flatMap(({ variant, evaluation: { pixel, protocol, slices: cut, randomWeights, image } }) => {
    const name = escapeText(variant.name);
    return [
      ...(pixel ? [] : [t.gaps.masks(name)]),
      ...(protocol.used.test < FEW_TESTS ? [t.gaps.small(name, protocol.used.test)] : []),
      ...(cut.every(({ column }) => column === "brightness") ? [t.gaps.slices(name)] : []),
      ...(randomWeights ? [] : [t.gaps.controls(name)]),
      ...(protocol.seeds.length > 1 || protocol.name === "words" ? [] : [t.gaps.oneSeed(name)]),
      ...(image.escapeRate === null || image.overkillRate === null ? [t.gaps.rates(name)] : []),
    ];
  });
  const all = [...gaps, ...(provenance ? [] : [t.gaps.licences]), ...(trained ? [] : [t.gaps.training]), t.gaps.drift, t.gaps.line];
  return `<ul>${all.map((gap) => `<li>${gap}</li>`).join("")}</ul>`;
}
