/** Step 1: where pictures come from: a live camera, a folder of the agent's computer, or files of this one. */
import type { PageState } from "@kenpin/schema";
import { useState } from "preact/hooks";
import { FramedPicture } from "./framed-picture.tsx";
import type { StepProps } from "./setup-view.tsx";
import type { Texts } from "./texts.ts";

export function SourceStep({ state, setup, camera, onCamera, store, act, t }: StepProps) {
  const [uploading, setUploading] = useState<{ done: number; of: number } | null>(null);
  const upload = (list: FileList | null) =>
    act(async () => {
      const files = [...(list ?? [])].filter(({ type }) => type.startsWith("image/"));
      try {
        for (const [i, file] of files.entries()) {
          setUploading({ done: i, of: files.length });
          await store.ask("POST", `/v1/setup/pictures?name=${encodeURIComponent(file.name)}`, file);
        }
      } finally {
        setUploading(null);
      }
    });
  const take = () => act(() => store.ask("POST", "/v1/setup/take", { camera, label: null }));
  return (
    <>
      <p class="hint">{t.sourceHint}</p>
      <div class="sources">
        <section class="source" aria-label={t.fromCamera}>
          <h3>{t.fromCamera}</h3>
          <div class="choices" role="radiogroup" aria-label={t.camera}>
            {state.cameras.map(({ name, part }) => (
              <label key={name}>
                <input type="radio" name="camera" checked={name === camera} onChange={() => onCamera(name)} />
                {name}
                {part && <span class="hint">{part}</span>}
              </label>
            ))}
          </div>
          <LiveCamera state={state} camera={camera} t={t} />
          <button type="button" disabled={!newestOf(state, camera)} onClick={() => void take()}>
            {t.takePicture}
          </button>
        </section>
        {setup.folder !== null && (
          <section class="source" aria-label={t.fromFolder}>
            <h3>{t.fromFolder}</h3>
            <code>{setup.folder}</code>
            <button type="button" onClick={() => void act(() => store.ask("POST", "/v1/setup/folder"))}>
              {t.addFolder}
            </button>
          </section>
        )}
        <section class="source" aria-label={t.fromUpload}>
          <h3>{t.fromUpload}</h3>
          <label class="button">
            {t.chooseFiles}
            <input type="file" accept="image/*" multiple onChange={(event) => void upload(event.currentTarget.files)} />
          </label>
          <label class="button">
            {t.chooseFolder}
            <input type="file" {...{ webkitdirectory: true }} onChange={(event) => void upload(event.currentTarget.files)} />
          </label>
          {uploading && <p role="status">{t.uploading(uploading.done, uploading.of)}</p>}
        </section>
      </div>
      <p class="count">{setup.pictures.length === 0 ? t.noPictures : t.picturesSoFar(setup.pictures.length)}</p>
      <ul class="tiles small">
        {setup.pictures.map(({ sha256, name }) => (
          <li key={sha256} class="removable">
            <FramedPicture sha256={sha256} alt={name} map={null} t={t} />
            <button type="button" class="quiet" onClick={() => void act(() => store.ask("DELETE", `/v1/setup/pictures/${sha256}`))}>
              {t.takeOut}
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

export function newestOf(state: PageState, camera: string | null) {
  return state.verdicts.find((verdict) => verdict.camera === camera) ?? null;
}

export function LiveCamera({ state, camera, t }: { state: PageState; camera: string | null; t: Texts }) {
  const newest = newestOf(state, camera);
  if (!newest) return <p class="hint absent">{t.noFrameYet}</p>;
  return <FramedPicture sha256={newest.frame.sha256} alt={t.now} map={null} size={newest.frame} t={t} />;
}
