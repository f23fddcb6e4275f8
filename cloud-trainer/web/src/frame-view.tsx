/**
 * One part, large: its picture where one was sent, the heat map over it, the regions, the score against its threshold.
 * Where the picture stayed on the device it says so, and shows everything else.
 */
import { type Fact, Facts, HeatMap, type Language, OutcomeMark, Regions, timeText } from "@kenpin/page/web";
import type { Label, SampleRow, Verdict } from "@kenpin/schema";
import type { Texts } from "./texts.ts";

export type Overlay = { shown: boolean; opacity: number };
type Props = {
  verdict: Verdict;
  sample: SampleRow | undefined;
  follows: boolean;
  /** Nothing newer was decided; else a newer part has no picture to show. */
  newest: boolean;
  overlay: Overlay;
  onOverlay: (overlay: Overlay) => void;
  onFollow: () => void;
  onLabel: ((label: Label["label"]) => void) | null;
  fault: string | null;
  language: Language;
  t: Texts;
};

export function FrameView(props: Props) {
  const { verdict, sample, follows, newest, overlay, onOverlay, onFollow, fault, t } = props;
  const map = sample?.stored ? sample.sample.map : undefined;
  return (
    <section class="frame-view card" aria-label={t.currentFrame}>
      <header>
        <h2>{t.currentFrame}</h2>
        <span class="tag">{follows ? (newest ? t.newest : t.newestPicture) : t.selected}</span>
        {!follows && (
          <button type="button" class="quiet" onClick={onFollow}>
            {t.backToNewest}
          </button>
        )}
        <span class="spacer" />
        <label class="switch">
          <input
            type="checkbox"
            checked={overlay.shown}
            disabled={!map}
            onChange={(event) => onOverlay({ ...overlay, shown: event.currentTarget.checked })}
          />
          {t.heatMap}
        </label>
        <input
          type="range"
          min="0"
          max="1"
          step="0.05"
          value={overlay.opacity}
          aria-label={t.opacity}
          disabled={!map || !overlay.shown}
          onInput={(event) => onOverlay({ ...overlay, opacity: Number(event.currentTarget.value) })}
        />
      </header>
      <Picture verdict={verdict} sample={sample} overlay={overlay} t={t} />
      <div class="reading">
        <OutcomeMark outcome={verdict.outcome} t={t} />
        {verdict.reason && <span class="reason">{t.reasons[verdict.reason]}</span>}
        <ScoreBar verdict={verdict} t={t} />
      </div>
      <Details {...props} />
      <Labelling {...props} />
      {fault !== null && (
        <p class="warning" role="alert">
          {t.labelFailed(fault)}
        </p>
      )}
    </section>
  );
}

function Picture({ verdict, sample, overlay, t }: Pick<Props, "verdict" | "sample" | "overlay" | "t">) {
  const map = sample?.stored ? sample.sample.map : undefined;
  const { width, height } = verdict.frame;
  const ratio = width > 0 && height > 0 ? width / height : 4 / 3;
  // As wide as there is room, but never taller than half the window, whatever the camera's shape.
  const size = { aspectRatio: String(ratio), width: `min(100%, calc(48vh * ${ratio.toFixed(4)}))` };
  return (
    <figure class={sample?.stored ? "picture" : "picture absent"} style={size}>
      {sample?.stored && <img src={`/v1/blobs/${sample.sample.frame.sha256}`} alt={t.partAlt} />}
      {map && overlay.shown && (
        <HeatMap key={map.sha256} source={`/v1/blobs/${map.sha256}`} opacity={overlay.opacity} again={sample} t={t} />
      )}
      {sample?.sample.evidence !== "region" && <Regions size={verdict.frame} regions={verdict.regions} />}
      {!sample && (
        <figcaption>
          <strong>{t.stayed}</strong>
          {t.stayedHint}
        </figcaption>
      )}
      {sample && !sample.stored && <figcaption>{t.onItsWay}</figcaption>}
      {sample?.stored && sample.sample.evidence === "region" && <figcaption class="note">{t.regionOnly}</figcaption>}
    </figure>
  );
}

function ScoreBar({ verdict: { score, threshold, outcome }, t }: { verdict: Verdict; t: Texts }) {
  if (score === null) return <span class="reason">{t.noScore}</span>;
  const percent = (value: number) => `${(value * 100).toFixed(1)}%`;
  return (
    <div class="score" role="img" aria-label={`${t.score} ${score.toFixed(3)}, ${t.threshold} ${threshold.toFixed(3)}`}>
      <div class="numbers">
        <span>
          {t.score} <strong>{score.toFixed(3)}</strong>
        </span>
        <span>
          {t.threshold} {threshold.toFixed(3)}
        </span>
      </div>
      <div class="bar">
        <div class={`fill ${outcome}`} style={{ width: percent(score) }} />
        <div class="cut" style={{ left: percent(threshold) }} />
      </div>
    </div>
  );
}

function Details({ verdict, language, t }: Props) {
  const facts: Fact[] = [
    [t.camera, `${verdict.agent} / ${verdict.camera}`],
    [t.part, verdict.part],
    [t.capturedAt, timeText(verdict.capturedAt, language)],
    [t.time, `${Math.round(verdict.ms.total)} ms`],
    [t.bundle, verdict.bundle.slice(0, 8)],
    [t.closest, verdict.prompt],
  ];
  return <Facts facts={facts} />;
}

const LABELS = [
  ["good", "G"],
  ["bad", "B"],
  ["unsure", "U"],
] as const;

function Labelling({ sample, onLabel, t }: Props) {
  if (!sample) return <p class="hint">{t.noSample}</p>;
  const { label } = sample;
  return (
    <div class="labelling">
      <span>{t.label}</span>
      {LABELS.map(([name, key]) => (
        <button key={name} type="button" aria-pressed={label?.label === name} disabled={!onLabel} onClick={() => onLabel?.(name)}>
          <kbd>{key}</kbd> {t[name]}
        </button>
      ))}
      {label && <span class="by">{t.labelledBy(t[label.label], label.by)}</span>}
      <span class="hint">{onLabel ? t.labelHint : t.cannotLabel}</span>
    </div>
  );
}
