/**
 * Step 5: scores of good and bad pictures on one axis, the threshold as a line that moves, what it means in words, and saving. After
 * that the new settings decide, and the live view shows by which.
 */
import type { Curve, SettingsRow } from "@kenpin/schema";
import { useEffect, useState } from "preact/hooks";
import { meaningLines } from "../../src/operate/wizard/meaning.ts";
import { ScorePlot } from "./score-plot.tsx";
import type { StepProps } from "./setup-view.tsx";
import type { Texts } from "./texts.ts";

type Three = { pass: number; cut: number; fail: number };

export function ThresholdStep({ state, setup, store, act, t }: StepProps) {
  const [curve, setCurve] = useState<Curve | null>(null);
  const [chosen, setChosen] = useState<Three | null>(null);
  const [asTheyCame, setAsTheyCame] = useState(false);
  const [by, setBy] = useState(state.person);
  const [saving, setSaving] = useState(false);
  const [saved, setSaved] = useState<SettingsRow | null>(null);
  useEffect(() => {
    if (setup.work || saved) return;
    if (setup.upToDate) void act(async () => setCurve(await store.ask<Curve>("GET", `/v1/setup/curve?asTheyCame=${asTheyCame}`)));
    else if (setup.fault === null) void act(() => store.ask("POST", "/v1/setup/look"));
  }, [setup.upToDate, setup.work === null, saved, asTheyCame]);
  if (saved) return <Saved row={saved} t={t} />;
  if (!curve || !setup.upToDate) return <p class="hint">{t.loading}</p>;
  const { pass, cut, fail } = chosen ?? curve.proposed;
  const thresholds: Three = { pass, cut, fail };
  const band = fail - pass;
  const save = () =>
    act(async () => {
      setSaving(true);
      try {
        setSaved(await store.ask<SettingsRow>("POST", "/v1/setup/save", { thresholds, by, asTheyCame }));
        await store.readSettings();
      } finally {
        setSaving(false);
      }
    });
  return (
    <>
      <p class="hint">{t.thresholdHint}</p>
      <ScorePlot curve={curve} thresholds={thresholds} t={t} />
      <div class="sliders">
        <Slider label={t.cut} value={cut} max={1} onValue={(value) => setChosen(around(value, band))} />
        <Slider label={t.band} value={band} max={0.5} onValue={(value) => setChosen(around(cut, value))} hint={t.bandHint} />
        {chosen && (
          <button type="button" onClick={() => setChosen(null)}>
            {t.proposal}
          </button>
        )}
      </div>
      <label class="choice">
        <input type="checkbox" checked={asTheyCame} onChange={(event) => setAsTheyCame(event.currentTarget.checked)} />
        {t.asTheyCame}
      </label>
      <ul class="meaning" aria-live="polite">
        {meaningLines(curve, thresholds, t).map((line) => (
          <li key={line}>{line}</li>
        ))}
      </ul>
      {state.localSettings ? (
        <form
          class="bar-of-buttons"
          onSubmit={(event) => {
            event.preventDefault();
            void save();
          }}
        >
          <label>
            {t.savedBy} <input value={by} maxLength={64} required onInput={(event) => setBy(event.currentTarget.value)} />
          </label>
          <button type="submit" class="primary large" disabled={saving || by.trim() === ""}>
            {saving ? t.saving : t.save}
          </button>
        </form>
      ) : (
        <p class="notice">{t.localOff}</p>
      )}
    </>
  );
}

type SliderProps = { label: string; value: number; max: number; onValue: (value: number) => void; hint?: string };

function Slider({ label, value, max, onValue, hint }: SliderProps) {
  return (
    <label class="slider">
      <span>
        {label} <strong>{value.toFixed(3)}</strong>
      </span>
      <input type="range" min="0" max={max} step="0.005" value={value} onInput={(event) => onValue(Number(event.currentTarget.value))} />
      {hint && <span class="hint">{hint}</span>}
    </label>
  );
}

function Saved({ row, t }: { row: SettingsRow; t: Texts }) {
  return (
    <div class="saved" role="status">
      <strong>{t.saved(row.version)}</strong>
      <span>
        {t.decidesBy}: <code>{row.settings.slice(0, 8)}</code>
      </span>
      <a class="button primary" href="#live">
        {t.seeLive}
      </a>
    </div>
  );
}

function around(cut: number, band: number): Three {
  return { pass: clamp(cut - band / 2), cut, fail: clamp(cut + band / 2) };
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, Math.round(value * 10_000) / 10_000));
}
