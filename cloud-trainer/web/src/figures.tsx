/** The strip of figures: what was decided so far, and what waits for a person. */
import { type Language, Shape } from "@kenpin/page/web";
import type { HubSummary } from "@kenpin/schema";
import type { Texts } from "./texts.ts";

const OUTCOMES = ["pass", "fail", "unknown"] as const;

export function Figures({ summary, language, t }: { summary: HubSummary; language: Language; t: Texts }) {
  const number = new Intl.NumberFormat(language);
  const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
  const { pass, fail, unknown } = summary.verdicts;
  const all = pass + fail + unknown;
  return (
    <dl class="figures">
      <div>
        <dt>{t.verdicts}</dt>
        <dd>{number.format(all)}</dd>
      </div>
      {OUTCOMES.map((outcome) => (
        <div key={outcome} class={outcome}>
          <dt>
            <Shape mark={outcome} />
            {t[outcome]}
          </dt>
          <dd>
            {number.format(summary.verdicts[outcome])}
            {all > 0 && <small>{percent.format(summary.verdicts[outcome] / all)}</small>}
          </dd>
        </div>
      ))}
      <div class={summary.samples.unlabelled > 0 ? "asking" : ""}>
        <dt>{t.toLabel}</dt>
        <dd>{number.format(summary.samples.unlabelled)}</dd>
      </div>
    </dl>
  );
}
