/** What happens now: the newest part with its map, how the agent stands, the last verdicts and the last failed parts. */
import { type Fact, Facts, OutcomeMark, Shape } from "@kenpin/page/web";
import type { PageState, Verdict } from "@kenpin/schema";
import { useState } from "preact/hooks";
import { FramedPicture } from "./framed-picture.tsx";
import type { Texts } from "./texts.ts";

export function LiveView({ state, t }: { state: PageState; t: Texts }) {
  const [selected, setSelected] = useState<string | null>(null);
  const all = [...state.verdicts, ...state.fails];
  const shown = all.find(({ id }) => id === selected) ?? state.verdicts[0];
  return (
    <div class="columns">
      <div class="left">
        {shown ? (
          <NewestPart verdict={shown} t={t} />
        ) : (
          <section class="card waiting">
            <strong>{t.waiting}</strong>
            {t.waitingHint}
          </section>
        )}
      </div>
      <div class="right">
        <Health state={state} t={t} />
        <section class="card">
          <h2>{t.lastFails}</h2>
          {state.fails.length === 0 ? (
            <p class="hint">{t.noFails}</p>
          ) : (
            <Tiles verdicts={state.fails} shown={shown?.id} map onSelect={setSelected} t={t} />
          )}
        </section>
        {state.verdicts.length > 0 && (
          <section class="card">
            <h2>{t.lastVerdicts}</h2>
            <Tiles
              verdicts={state.verdicts.slice(0, 24)}
              shown={shown?.id}
              map={false}
              onSelect={(id) => setSelected(id === state.verdicts[0]?.id ? null : id)}
              t={t}
            />
          </section>
        )}
      </div>
    </div>
  );
}

function NewestPart({ verdict, t }: { verdict: Verdict; t: Texts }) {
  const { frame, regions, outcome, reason, score, threshold, settings } = verdict;
  const facts: Fact[] = [
    [t.score, score === null ? undefined : score.toFixed(3)],
    [t.threshold, threshold.toFixed(3)],
    [t.camera, verdict.camera],
    [t.time, `${Math.round(verdict.ms.total)} ms`],
    [t.closest, verdict.prompt],
    [t.decidesBy, settings.slice(0, 8)],
  ];
  return (
    <section class="card" aria-label={t.now}>
      <header>
        <h2>{t.now}</h2>
        <OutcomeMark outcome={outcome} t={t} />
        {reason && <span class="hint">{t.reasons[reason]}</span>}
      </header>
      <FramedPicture sha256={frame.sha256} alt={t.partAlt} map={settings} size={frame} regions={outcome === "pass" ? [] : regions} t={t} />
      <Facts facts={facts} />
    </section>
  );
}

function Health({ state, t }: { state: PageState; t: Texts }) {
  const { running, broker, backlog, cameras } = state;
  const facts: Fact[] = [
    [t.inspector, running.inspecting ? t.inspecting : t.notInspecting, running.inspecting],
    [t.brokerName, broker === "connected" ? t.connected : t.brokerAway, broker === "connected"],
    [t.backlog, String(backlog), true],
    [t.bundle, `${running.name}, ${t.release(running.release)}`, true],
    [t.decidesBy, running.settings.slice(0, 8), true],
    [t.references, String(running.references), true],
    ...cameras.filter(({ paused }) => paused).map(({ name }): Fact => [`${t.camera} ${name}`, t.paused, false]),
  ];
  return (
    <section class="card">
      <header>
        <h2>{t.health}</h2>
        <span class="spacer" />
        <a class="button" href="#setup">
          {t.startSetUp}
        </a>
      </header>
      <Facts facts={facts} />
    </section>
  );
}

type TilesProps = { verdicts: readonly Verdict[]; shown: string | undefined; map: boolean; onSelect: (id: string) => void; t: Texts };

function Tiles({ verdicts, shown, map, onSelect, t }: TilesProps) {
  return (
    <ul class="tiles">
      {verdicts.map(({ id, frame, outcome, score, settings, regions }) => (
        <li key={id}>
          <button type="button" class={`tile ${outcome}`} aria-current={id === shown ? "true" : undefined} onClick={() => onSelect(id)}>
            <FramedPicture sha256={frame.sha256} alt="" map={map ? settings : null} size={frame} regions={map ? regions : []} t={t} />
            <span class="caption">
              <Shape mark={outcome} />
              {t[outcome]}
              <span class="value">{score === null ? "–" : score.toFixed(2)}</span>
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}
