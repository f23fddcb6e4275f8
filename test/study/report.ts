/**
 * The study's page. In: study.json. Out: README.md in plain words, with tables, and its curves as SVG files, all derived by rules: the same
 * study gives the same bytes.
 */
import { START_SCORING } from "../../cloud-trainer/src/import/start-scoring.ts";
import { type Arm, type Factor, FACTORS } from "./arms.ts";
import { type Axes, type Line, lineChart } from "./charts.ts";
import { type Claim, claimsOf, differenceOf, MARGIN, percent, said } from "./claims.ts";
import { estimate } from "./intervals.ts";
import { presetOf } from "./presets.ts";
import { type Arms, armsIn, bestRate, computeOf, type Run, runsOf, type Study, score, sweepOf } from "./results.ts";

const LABELS: Record<string, string> = {
  ...Object.fromEntries(FACTORS.flatMap(({ arms }) => arms.map(({ id, label }) => [id, label]))),
  teacher: "the teacher itself",
  scratch: "base recipe: from scratch, LAMB, small batch",
  "adamw-small": "AdamW, small batch",
  "adamw-large": "AdamW, large batch",
  "distill-all": "student by all terms of distillation",
};
const BUDGETS = { "-quarter": "a quarter of the pictures", "-half": "half of the pictures" };

export function pageOf(study: Study): Map<string, string> {
  const files = new Map<string, string>();
  const { arms, factors } = armsIn(study);
  const sections = factors.map((factor) => section(study, arms, factor, files));
  const parts = [head(study, arms), claims(claimsOf(study)), ...sections, realSets(study), limits(study, arms)];
  files.set("README.md", aligned(`${parts.filter((part) => part !== "").join("\n\n")}\n`));
  return files;
}

/** Every table's columns as wide as their widest cell, as the formatter wants them. */
function aligned(text: string): string {
  return text.replace(/(^\|.*\n)+/gm, (block) => {
    const rows = block
      .trimEnd()
      .split("\n")
      .map((line) =>
        line
          .slice(1, -1)
          .split("|")
          .map((cell) => cell.trim()),
      );
    const widths = (rows[0] ?? []).map((_, column) => Math.max(3, ...rows.map((row) => (row[column] ?? "").length)));
    const lines = rows.map(
      (row) => `| ${row.map((cell, i) => (cell === "---" ? "-".repeat(widths[i] ?? 3) : cell.padEnd(widths[i] ?? 3))).join(" | ")} |`,
    );
    return `${lines.join("\n")}\n`;
  });
}

// --- text

function head(study: Study, arms: Arms): string {
  const { model, scale, pictures, known, unseen, engine } = presetOf(study.preset);
  const { device, torch, precision, backend } = study.machine;
  const trained = study.runs.filter((run) => run.do === "train");
  const failed = trained.filter((run) => run.failed).length;
  const where =
    engine === "torch"
      ? `PyTorch ${torch} on ${device}, ${precision}, ${study.processes} processes beside one another`
      : `tfjs (${backend}) on ${device}`;
  const judged =
    unseen.length > 0
      ? `Judged on fresh pictures of ${unseen.length} families that no run was trained on (${unseen.join(", ")}).`
      : "Judged on fresh pictures of the families that were trained on; this engine draws no family apart.";
  const { small, large } = scale.batches;
  return [
    "# Which parts of the EVA-CLIP recipe earn their place at this scale",
    `Architecture of ${model} at ${scale.config.image.size} pixels; ${trained.length} runs in ${Math.round(study.seconds / 60)} minutes, all by the engine ${engine}: ${where}.` +
      `${failed > 0 ? ` ${failed} runs came apart and count as lost.` : ""} A run of the base recipe sees ${thousands((arms.get("scratch") as Arm).samples)} generated pictures` +
      ` of ${thousands(pictures.train)} different ones${known === null ? "" : ` (${known.join(", ")})`}, in batches of ${small}; the large batch is ${large}. ${judged}` +
      ` Every arm tries as many rates with its first seed, the best by other pictures counts and is run with the other seeds. No real picture was used to train or to choose.`,
    "Figures are AUROC by words alone: of whole pictures and of patches; claims are judged by the mean of the two, its difference taken seed by seed" +
      ` with a 95 % interval (Student's t). A loss below ${MARGIN} counts as none. Written by \`npm run study -- --page\` from [study.json](study.json).`,
  ].join("\n\n");
}

function claims(found: readonly Claim[]): string {
  const rows = found.map(({ claim, answer, because }) => `| ${claim} | **${answer}** | ${because} |`);
  return ["## Claims", "", "| claim | here it | because |", "| --- | --- | --- |", ...rows].join("\n");
}

function section(study: Study, arms: Arms, factor: Factor, files: Map<string, string>): string {
  const ids = [factor.reference, ...factor.arms.map(({ id }) => id)];
  const shorter =
    factor.id === "init" ? ids.flatMap((id) => Object.keys(BUDGETS).map((suffix) => id + suffix)).filter((id) => arms.has(id)) : [];
  const controls = { init: ["untrained"], distill: ["teacher"] }[factor.id] ?? [];
  const rows = [...controls, ...ids, ...shorter].map((id) => row(study, arms, id, factor.reference));
  const name = `${factor.id}.svg`;
  const parts = [`## ${factor.question}`, "", ...table(study, rows, shortLabel(factor.reference))];
  const lines = curves(study, arms, ids);
  if (lines.length > 0) {
    files.set(name, lineChart(axes(factor.question), lines));
    parts.push("", `![${factor.question}](${name})`);
  }
  return [...parts, "", ...sweepTable(study, arms, ids)].join("\n");
}

type Row = { label: string; runs: Run[]; against: string; cost: string; speed: string };

function row(study: Study, arms: Arms, id: string, reference: string): Row {
  if (id === "untrained") {
    const runs = study.runs.filter((run) => run.do === "untrained");
    return { label: "weights drawn at random", runs, against: "", cost: "0 %", speed: "" };
  }
  const runs = [...runsOf(study, arms, id).values()];
  const found = id === reference || id === "teacher" ? null : differenceOf(study, arms, id, reference);
  const whole = computeOf(arms, "scratch", study.preset).own;
  const { own, withPretraining, withTeacher } = computeOf(arms, id, study.preset);
  const charged = [...new Set([own, withPretraining, withTeacher].map((cost) => percent(cost / whole)))].join(" / ");
  const rates = runs.flatMap(({ imagesPerSecond }) => imagesPerSecond ?? []);
  return {
    label: labelOf(id),
    runs,
    against: found ? said(found) : "",
    cost: charged,
    speed: rates.length > 0 ? String(Math.round(middle(rates))) : "",
  };
}

function labelOf(id: string): string {
  const [suffix, budget] = Object.entries(BUDGETS).find(([end]) => id.endsWith(end)) ?? [];
  return suffix ? `${labelOf(id.slice(0, -suffix.length))}, ${budget}` : (LABELS[id] ?? id);
}

function table(study: Study, rows: readonly Row[], reference: string): string[] {
  const { judgedBy } = armsIn(study);
  const places = judgedBy === "unseen" ? (["unseen", "seen"] as const) : (["seen"] as const);
  const heads = places.map((place) =>
    place === "unseen" ? "families never trained on: image / patches" : "families trained on: image / patches",
  );
  const lines = rows.map(({ label, runs, against, cost, speed }) => {
    const told = places.map((place) => {
      const own = runs.flatMap(({ judged }) => judged?.[place] ?? []);
      return own.length === 0 ? "not run" : `${three(own.map(({ image }) => image))} / ${three(own.map(({ patches }) => patches))}`;
    });
    return `| ${[label, runs.length, ...told, against, cost, speed].join(" | ")} |`;
  });
  const columns = [
    "",
    "seeds",
    ...heads,
    `difference to “${reference}”`,
    "compute: own / with pretraining / with the teacher",
    "images/s, beside others",
  ];
  return [`| ${columns.join(" | ")} |`, `|${" --- |".repeat(columns.length)}`, ...lines];
}

function sweepTable(study: Study, arms: Arms, ids: readonly string[]): string[] {
  const sweeps = ids
    .map((id) => ({ id, runs: sweepOf(study, arms, id), best: bestRate(study, arms, id) }))
    .filter(({ runs }) => runs.length > 0);
  const lines = sweeps.map(({ id, runs, best }) => {
    const cells = runs.map(({ rate, failed, judged }) => {
      const value = failed || !judged ? "came apart" : score(judged.choose).toFixed(3);
      return `${rate}: ${rate === best ? `**${value}**` : value}`;
    });
    const all = (arms.get(id) as Arm).rates;
    const left = all.length - runs.length;
    const edge =
      best !== null && all.length > 1 && (best === Math.min(...all) || best === Math.max(...all))
        ? "at the edge: a rate beyond may be better"
        : "";
    return `| ${labelOf(id)} | ${cells.join(", ")}${left > 0 ? `, ${left} not run` : ""} | ${edge} |`;
  });
  return [
    "Rates, as multiples of the optimizer's middle one, with the first seed (the mean of both AUROCs on pictures kept for choosing):",
    "",
    "| arm | rate: score | |",
    "| --- | --- | --- |",
    ...lines,
  ];
}

function realSets(study: Study): string {
  if (study.real.length === 0) return "## Real sets\n\nLeft out: no folder with them was given (`--real DIR`).";
  const sets = [...new Set(study.real.map(({ set }) => set))];
  const ids = [...new Set(study.real.map(({ arm }) => arm))];
  const cell = (id: string, set: string) => {
    const own = study.real.filter((one) => one.arm === id && one.set === set);
    const kinds = [...new Set(own.flatMap(({ auroc }) => Object.keys(auroc)))];
    return kinds.map((kind) => `${kind === "all" ? "" : `${kind} `}${three(own.flatMap(({ auroc }) => auroc[kind] ?? []))}`).join(", ");
  };
  const lines = ids.map(
    (id) =>
      `| ${id === "untrained" ? "weights drawn at random" : labelOf(id)} | ${study.real.filter((one) => one.arm === id && one.set === sets[0]).length} | ${sets.map((set) => cell(id, set)).join(" | ")} |`,
  );
  return [
    "## Real sets",
    "",
    `AUROC by words alone and one rule, the one a model without any choice of scoring has (the hottest ${START_SCORING.topRatio * 100} % of the patches count ${1 - START_SCORING.imageWeight}, the mean over tiles ${START_SCORING.imageWeight}), mean of the seeds. Judged by the inspector that a device runs, on the weights that the runs above ended with, rounded to 16 bits.`,
    "",
    `| | seeds | ${sets.join(" | ")} |`,
    `|${" --- |".repeat(sets.length + 2)}`,
    ...lines,
    "",
    onReal(study, sets),
  ].join("\n");
}

/** Sets on which no trained arm's mean passes chance and weights drawn at random by the margin. */
function onReal({ real }: Study, sets: readonly string[]): string {
  const meanOf = (arm: string, set: string) =>
    middle(real.filter((one) => one.arm === arm && one.set === set).flatMap(({ auroc }) => auroc["all"] ?? []));
  const trained = [...new Set(real.map(({ arm }) => arm))].filter((arm) => arm !== "untrained");
  const lost = sets.filter((set) => trained.every((arm) => !(meanOf(arm, set) > Math.max(0.5, meanOf("untrained", set)) + MARGIN)));
  const won = sets.filter((set) => !lost.includes(set));
  const parts = [
    ...(lost.length > 0 ? [`No arm is better than both chance and weights drawn at random on ${lost.join(", ")}.`] : []),
    ...(won.length > 0 ? [`At least one is on ${won.join(", ")}, by its mean.`] : []),
    "Runs this short, on plain materials, are for comparing recipes, not for real parts.",
  ];
  return parts.join(" ");
}

function limits(study: Study, arms: Arms): string {
  const { seeds } = armsIn(study);
  const short = [...arms.keys()].filter(
    (id) =>
      (arms.get(id) as Arm).stage !== "pretrain" && (arms.get(id) as Arm).seeds === null && runsOf(study, arms, id).size < seeds.length,
  );
  const missing =
    short.length === 0 ? "every arm ran with every seed" : `fewer than ${seeds.length} seeds: ${short.map(labelOf).join("; ")}`;
  return [
    "## What this does not say",
    "",
    `- One model size, one length of training, generated pictures; ${missing}.`,
    "- Three seeds give wide intervals: “cannot be told” is no proof of equality.",
    ...edges(study, arms),
    "- The rate of masked image modelling was not swept; its length is 40 % of a base run's pictures. The teacher is one run with twice the base run's pictures.",
    "- Compute is forward GFLOPs × pictures, a caption counted with each picture. Images a second in the tables were measured while other runs shared the device.",
  ].join("\n");
}

/** A best rate at the edge of those that were tried is a lower bound. */
function edges(study: Study, arms: Arms): string[] {
  const swept = [...arms.values()].filter(({ rates, ratesOf }) => rates.length > 1 && ratesOf === null);
  const known = swept.flatMap(({ id, rates }) => {
    const best = bestRate(study, arms, id);
    return best === null ? [] : [{ lowest: best === Math.min(...rates), edge: best === Math.min(...rates) || best === Math.max(...rates) }];
  });
  const at = known.filter(({ edge }) => edge).length;
  if (at === 0) return [];
  const lowest = known.filter(({ lowest }) => lowest).length;
  return [
    `- Of ${known.length} arms that swept their rate ${at} were best at the edge of what was tried${swept.every(({ rates }) => rates.length === 2) ? ", as must be with two rates" : ""} (${lowest} at the lowest): rates beyond may be better, and for one arm more than for another.`,
  ];
}

// --- curves

function axes(title: string): Axes {
  return { title, x: "forward TFLOPs of the run", y: "mean AUROC on the way" };
}

/** Means over the seeds against the run's own compute, the band from the lowest to the highest seed. */
function curves(study: Study, arms: Arms, ids: readonly string[]): Line[] {
  return ids.flatMap((id) => {
    const runs = [...runsOf(study, arms, id).values()].filter(({ curve }) => curve && curve.length > 0);
    const { samples } = arms.get(id) as Arm;
    const perPicture = computeOf(arms, id, study.preset).own / samples / 1000;
    const length = Math.min(...runs.map(({ curve }) => curve?.length ?? 0));
    if (runs.length === 0) return [];
    const points = Array.from({ length }, (_, i) => {
      const at = runs.map(({ curve }) => curve?.[i] as NonNullable<Run["curve"]>[number]);
      const values = at.map(score);
      return { x: (at[0]?.samples ?? 0) * perPicture, y: middle(values), low: Math.min(...values), high: Math.max(...values) };
    });
    return [{ label: shortLabel(id), points }];
  });
}

function shortLabel(id: string): string {
  const names: Record<string, string> = {
    scratch: "base recipe",
    hog: "start: HOG",
    clip: "start: CLIP features",
    "dropout-tail": "dropped, tail without",
  };
  return names[id] ?? labelOf(id);
}

function middle(values: readonly number[]): number {
  return estimate(values)?.mean ?? Number.NaN;
}

function three(values: readonly number[]): string {
  return values.length === 0 ? "–" : middle(values).toFixed(3);
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}
