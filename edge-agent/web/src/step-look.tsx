/** Step 4: every picture as the inspector sees it, the most unusual first: heat map, boxes, score; any can be said to be good or bad. */
import { type Fact, Facts, Shape } from "@kenpin/page/web";
import type { PictureRow } from "@kenpin/schema";
import { useEffect, useState } from "preact/hooks";
import { FramedPicture } from "./framed-picture.tsx";
import type { StepProps } from "./setup-view.tsx";
import { useKeys } from "./step-good.tsx";
import type { Texts } from "./texts.ts";

const LABELS = [
  ["good", "G"],
  ["bad", "B"],
  [null, "N"],
] as const;

export function LookStep({ setup, store, act, t }: StepProps) {
  const [selected, setSelected] = useState<string | null>(null);
  const [opacity, setOpacity] = useState(0.65);
  const sorted = useSorted(setup.pictures);
  const shown = sorted.find(({ sha256 }) => sha256 === selected) ?? sorted[0];
  const look = () => act(() => store.ask("POST", "/v1/setup/look"));
  useEffect(() => {
    if (!setup.upToDate && !setup.work && setup.pictures.every(({ look: seen }) => seen === null)) void look();
  }, []);
  const label = (what: PictureRow["label"]) =>
    act(async () => {
      if (!shown) return;
      setSelected(shown.sha256);
      await store.ask("PUT", `/v1/setup/pictures/${shown.sha256}`, { label: what });
    });
  useKeys((key) => {
    const found = LABELS.find(([, letter]) => letter.toLowerCase() === key);
    if (found) void label(found[0]);
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[key];
    const at = sorted.findIndex(({ sha256 }) => sha256 === shown?.sha256);
    if (by !== undefined) setSelected(sorted[Math.min(sorted.length - 1, Math.max(0, at + by))]?.sha256 ?? null);
  });
  if (!shown) return <p class="notice">{t.lookNone}</p>;
  return (
    <>
      <p class="hint">{t.lookHint}</p>
      {!setup.upToDate && !setup.work && (
        <div class="notice bar-of-buttons">
          <span>{t.lookStale}</span>
          <button type="button" class="primary" onClick={() => void look()}>
            {t.lookAgain}
          </button>
        </div>
      )}
      <div class="look-columns">
        <div>
          <FramedPicture
            sha256={shown.sha256}
            alt={shown.name}
            map={shown.look?.score ?? null}
            opacity={opacity}
            size={shown.look ?? undefined}
            regions={shown.look?.regions ?? []}
            t={t}
          />
          <div class="bar-of-buttons">
            {LABELS.map(([name, letter]) => (
              <button key={letter} type="button" aria-pressed={shown.label === name} onClick={() => void label(name)}>
                <kbd>{letter}</kbd> {name === null ? t.neither : t[name]}
              </button>
            ))}
            <span class="spacer" />
            <label class="switch">
              {t.heatMap}
              <input
                type="range"
                min="0"
                max="1"
                step="0.05"
                value={opacity}
                aria-label={t.opacity}
                onInput={(event) => setOpacity(Number(event.currentTarget.value))}
              />
            </label>
          </div>
          <Seen picture={shown} t={t} />
          <p class="hint">{t.lookKeys}</p>
        </div>
        <ul class="tiles">
          {sorted.map((picture) => (
            <li key={picture.sha256}>
              <Tile picture={picture} isShown={picture.sha256 === shown.sha256} onSelect={() => setSelected(picture.sha256)} t={t} />
            </li>
          ))}
        </ul>
      </div>
    </>
  );
}

/** Keeps its order while somebody labels: only a new look sorts anew. */
function useSorted(pictures: PictureRow[]): PictureRow[] {
  const [order, setOrder] = useState<string[]>([]);
  const seen = pictures.map(({ sha256, look }) => `${sha256} ${look?.score ?? ""}`).join();
  useEffect(() => {
    if (pictures.some(({ look }) => look === null)) return;
    setOrder([...pictures].sort((a, b) => (b.look?.score ?? 0) - (a.look?.score ?? 0)).map(({ sha256 }) => sha256));
  }, [seen]);
  const place = new Map(order.map((sha256, i) => [sha256, i]));
  const of = ({ sha256 }: PictureRow) => place.get(sha256) ?? order.length;
  return [...pictures].sort((a, b) => of(a) - of(b));
}

function Seen({ picture: { name, look, label }, t }: { picture: PictureRow; t: Texts }) {
  if (!look) return null;
  const score = (
    <>
      <strong>{look.score.toFixed(3)}</strong> {label !== null && <span class="hint">{t.taughtScore}</span>}
    </>
  );
  const facts: Fact[] = [
    [t.score, score],
    [t.closest, look.prompt],
    [t.fileName, name || undefined],
  ];
  return <Facts facts={facts} />;
}

function Tile({ picture, isShown, onSelect, t }: { picture: PictureRow; isShown: boolean; onSelect: () => void; t: Texts }) {
  const { sha256, label, look } = picture;
  const word = label === null ? t.neither : t[label];
  return (
    <button type="button" class="tile" aria-current={isShown ? "true" : undefined} onClick={onSelect}>
      <FramedPicture sha256={sha256} alt="" map={look?.score ?? null} size={look ?? undefined} regions={[]} t={t} />
      <span class="caption">
        <Shape mark={label === "good" ? "pass" : label === "bad" ? "fail" : "unknown"} />
        {word}
        <span class="value">{look ? look.score.toFixed(2) : "–"}</span>
      </span>
    </button>
  );
}
