/**
 * The page "Live". Joins the store to the views, holds what the operator chose (language, part, overlay) and the keys:
 * G, B and U label the part that is shown, the arrows move, Escape goes back to the newest.
 */
import { type Language, TopBar, useLanguage, useStore } from "@kenpin/page/web";
import type { Label, Verdict } from "@kenpin/schema";
import { render } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { AgentsBar } from "./agents-bar.tsx";
import { Figures } from "./figures.tsx";
import { FrameView, type Overlay } from "./frame-view.tsx";
import { LiveStore, type Snapshot } from "./live-store.ts";
import { TEXTS, type Texts } from "./texts.ts";
import { TrainingPanel } from "./training-panel.tsx";
import { VerdictGrid } from "./verdict-grid.tsx";

const KEYS: Record<string, Label["label"]> = { g: "good", b: "bad", u: "unsure" };

function Page() {
  const { language, t, switchLanguage } = useLanguage("kenpin-language", TEXTS);
  const [selected, setSelected] = useState<string | null>(null);
  const [overlay, setOverlay] = useState<Overlay>({ shown: true, opacity: 0.6 });
  const [fault, setFault] = useState<string | null>(null);
  const store = useStore((onChange) => new LiveStore(onChange));
  const live = store.snapshot;
  const shown = shownVerdict(live, selected);
  const sample = shown ? live.samples.get(shown.id) : undefined;
  const mayLabel = live.me !== null && live.me.role !== "viewer";
  const label = async (what: Label["label"]) => {
    if (!sample || !mayLabel || !shown) return;
    setSelected(shown.id); // it must not slip away under the operator's finger
    setFault(await store.label(sample.sample.frame.sha256, what));
  };
  const select = (id: string | null) => {
    setSelected(id);
    setFault(null);
  };
  useKeys((key) => {
    const what = KEYS[key.toLowerCase()];
    if (what) void label(what);
    else if (key === "Escape") select(null);
    else select(neighbour(live, shown?.id ?? null, key) ?? selected);
  });
  useEffect(() => {
    document.title = `kenpin · ${t.live}`;
  }, [t]);

  return (
    <>
      <TopBar person={live.me && `${live.me.name} (${live.me.role})`} onLanguage={switchLanguage} t={t}>
        <AgentsBar agents={live.agents} t={t} />
      </TopBar>
      <main>
        <Notices live={live} language={language} t={t} />
        {live.summary && <Figures summary={live.summary} language={language} t={t} />}
        <div class="columns">
          <div class="left">
            {shown ? (
              <FrameView
                verdict={shown}
                sample={sample}
                follows={selected === null}
                newest={shown.id === live.verdicts[0]?.verdict.id}
                overlay={overlay}
                onOverlay={setOverlay}
                onFollow={() => select(null)}
                onLabel={mayLabel ? (what) => void label(what) : null}
                fault={fault}
                language={language}
                t={t}
              />
            ) : (
              <section class="card waiting">
                <strong>{live.connection === "loading" ? t.loading : t.waiting}</strong>
                {live.connection !== "loading" && t.waitingHint}
              </section>
            )}
          </div>
          <div class="right">
            <TrainingPanel run={live.run} curve={live.curve} language={language} t={t} />
            {live.verdicts.length > 0 && (
              <VerdictGrid verdicts={live.verdicts} samples={live.samples} shown={shown?.id ?? null} onSelect={select} t={t} />
            )}
          </div>
        </div>
      </main>
    </>
  );
}

function Notices({ live, language, t }: { live: Snapshot; language: Language; t: Texts }) {
  const truth = live.summary?.samples.labelledByGroundTruth ?? 0;
  return (
    <>
      {live.connection === "away" && (
        <p class="warning" role="alert">
          {t.hubAway}
        </p>
      )}
      {live.connection === "live" && live.summary?.broker === "away" && (
        <p class="warning" role="alert">
          {t.brokerAway}
        </p>
      )}
      {truth > 0 && <p class="notice">{t.groundTruth(new Intl.NumberFormat(language).format(truth))}</p>}
    </>
  );
}

function useKeys(onKey: (key: string) => void): void {
  // Before the picture is painted: a key struck at once must mean the part that is seen, not the one before it.
  useLayoutEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const arrow = event.key.startsWith("Arrow");
      if (arrow && event.target instanceof HTMLInputElement && event.target.type === "range") return; // they move the slider
      if (arrow) event.preventDefault();
      onKey(event.key);
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  });
}

/** The selected part; else the newest one with a picture, since that is what there is to look at; else the newest. */
function shownVerdict({ verdicts, samples }: Snapshot, selected: string | null): Verdict | null {
  const row =
    verdicts.find(({ verdict }) => verdict.id === selected) ??
    verdicts.find(({ verdict }) => samples.get(verdict.id)?.stored) ??
    verdicts[0];
  return row?.verdict ?? null;
}

/** The tile that an arrow key leads to: along the row, or to the row above or below. */
function neighbour({ verdicts }: Snapshot, from: string | null, key: string): string | null {
  const tops = [...document.querySelectorAll<HTMLElement>(".tile")].map((tile) => tile.offsetTop);
  const across = Math.max(1, tops.filter((top) => top === tops[0]).length);
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key];
  if (by === undefined) return null;
  const at = verdicts.findIndex(({ verdict }) => verdict.id === from);
  const to = Math.min(verdicts.length - 1, Math.max(0, at + by));
  return verdicts[to]?.verdict.id ?? null;
}

render(<Page />, document.getElementById("page") as HTMLElement);
