/** Step 2: good pictures, from 0 to many: one key takes the camera's newest, or marks a picture that is there; one key undoes. */
import { Shape } from "@kenpin/page/web";
import { useEffect, useState } from "preact/hooks";
import { FramedPicture } from "./framed-picture.tsx";
import type { StepProps } from "./setup-view.tsx";
import { LiveCamera, newestOf } from "./step-source.tsx";

type Done = { sha256: string; was: "taken" | "good" | "bad" | null };

export function GoodStep({ state, setup, camera, store, act, t }: StepProps) {
  const [done, setDone] = useState<Done[]>([]);
  const [selected, setSelected] = useState<string | null>(null);
  const good = setup.pictures.filter(({ label }) => label === "good").length;
  const newest = newestOf(state, camera);
  const remember = (step: Done) => setDone((before) => [...before, step]);
  const take = () =>
    act(async () => {
      const known = new Set(setup.pictures.map(({ sha256 }) => sha256));
      const { sha256 } = await store.ask<{ sha256: string }>("POST", "/v1/setup/take", { camera, label: "good" });
      if (!known.has(sha256)) remember({ sha256, was: "taken" });
    });
  const mark = (sha256: string, label: "good" | "bad" | null) =>
    act(async () => {
      const was = setup.pictures.find((picture) => picture.sha256 === sha256)?.label ?? null;
      await store.ask("PUT", `/v1/setup/pictures/${sha256}`, { label });
      remember({ sha256, was });
    });
  const allGood = () =>
    act(async () => {
      for (const { sha256, label } of setup.pictures) {
        if (label !== null) continue;
        await store.ask("PUT", `/v1/setup/pictures/${sha256}`, { label: "good" });
        remember({ sha256, was: null });
      }
    });
  const undo = () =>
    act(async () => {
      const last = done.at(-1);
      if (!last) return;
      setDone(done.slice(0, -1));
      if (last.was === "taken") await store.ask("DELETE", `/v1/setup/pictures/${last.sha256}`);
      else await store.ask("PUT", `/v1/setup/pictures/${last.sha256}`, { label: last.was });
    });
  useKeys((key) => {
    if (key === "u") void undo();
    else if (key === "g" && selected) void mark(selected, "good");
    else if (key === "g" && newest) void take();
  });
  return (
    <>
      <p class="hint">{t.goodHint}</p>
      <div class="good-columns">
        <section class="source" aria-label={t.fromCamera}>
          <LiveCamera state={state} camera={camera} t={t} />
          <button type="button" class="primary large" disabled={!newest} onClick={() => void take()}>
            <kbd>G</kbd> {t.takeGood}
          </button>
        </section>
        <section aria-label={t.goodSoFar(good)}>
          <div class="bar-of-buttons">
            <strong class="count" role="status">
              {t.goodSoFar(good)}
            </strong>
            <span class="spacer" />
            <button type="button" disabled={setup.pictures.every(({ label }) => label !== null)} onClick={() => void allGood()}>
              {t.allGood}
            </button>
            <button type="button" disabled={done.length === 0} onClick={() => void undo()}>
              <kbd>U</kbd> {t.undo}
            </button>
          </div>
          {setup.pictures.length === 0 && <p class="hint">{t.noPictures}</p>}
          <ul class="tiles small">
            {setup.pictures.map(({ sha256, name, label }) => (
              <li key={sha256}>
                <button
                  type="button"
                  class="tile"
                  aria-pressed={label === "good"}
                  aria-label={`${name || sha256.slice(0, 8)}: ${label === null ? t.neither : t[label]}`}
                  onFocus={() => setSelected(sha256)}
                  onBlur={() => setSelected(null)}
                  onClick={() => void mark(sha256, label === "good" ? null : "good")}
                >
                  <FramedPicture sha256={sha256} alt="" map={null} t={t} />
                  <span class="caption">
                    <Shape mark={label === "good" ? "pass" : label === "bad" ? "fail" : "unknown"} />
                    {label === null ? t.neither : t[label]}
                  </span>
                </button>
              </li>
            ))}
          </ul>
        </section>
      </div>
      <p class="hint">{t.goodKeys}</p>
    </>
  );
}

/** Letters anywhere on the page but where somebody types. */
export function useKeys(onKey: (key: string) => void): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLInputElement && !["radio", "checkbox", "range"].includes(event.target.type);
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      onKey(event.key.length === 1 ? event.key.toLowerCase() : event.key);
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  });
}
