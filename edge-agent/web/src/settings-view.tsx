/** The versions of this device's settings: which one decides, one step back, export, and taking over another device's file. */
import { type Language, timeText } from "@kenpin/page/web";
import type { AuditRow, PageState, SettingsRow } from "@kenpin/schema";
import { useState } from "preact/hooks";
import type { Act } from "./main.tsx";
import type { Store } from "./store.ts";
import type { Texts } from "./texts.ts";

type Props = { state: PageState; settings: SettingsRow[]; audit: AuditRow[]; store: Store; act: Act; language: Language; t: Texts };

export function SettingsView({ state, settings, audit, store, act, language, t }: Props) {
  const active = settings.find((row) => row.active);
  const [busy, setBusy] = useState(false);
  const back = () =>
    act(async () => {
      setBusy(true);
      try {
        await store.ask("POST", "/v1/settings/back");
        await store.readSettings();
      } finally {
        setBusy(false);
      }
    });
  return (
    <>
      <section class="card">
        <header>
          <h2>{t.history}</h2>
          <span class="spacer" />
          <button type="button" disabled={busy || !active || active.version === 0} onClick={() => void back()}>
            {busy ? t.saving : t.goBack}
          </button>
        </header>
        <p class="hint">{t.historyHint}</p>
        <div class="wide">
          <table>
            <thead>
              <tr>
                {[t.history, t.at, t.by, t.goodCount, t.badCount, t.threshold, t.words, t.signedBy, t.decidesBy, ""].map((name) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {settings.map((row) => (
                <Row key={row.version} row={row} isOther={row.bundle !== state.running.bundle} language={language} t={t} />
              ))}
            </tbody>
          </table>
        </div>
      </section>
      <Audit audit={audit} language={language} t={t} />
      <TakeOver state={state} store={store} act={act} t={t} />
    </>
  );
}

function Row({ row, isOther, language, t }: { row: SettingsRow; isOther: boolean; language: Language; t: Texts }) {
  return (
    <tr class={row.active ? "active" : ""}>
      <th scope="row">
        {t.version(row.version)} {row.active && <span class="tag done">{t.active}</span>}
        {isOther && <span class="tag">{t.otherBundle}</span>}
      </th>
      <td>{new Date(row.at).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" })}</td>
      <td>{row.by}</td>
      <td>{row.good}</td>
      <td>{row.bad}</td>
      <td>{row.cut.toFixed(3)}</td>
      <td class="words-cell">{row.words.join(", ")}</td>
      <td>{row.signedBy === "this device" ? t.device : t.rootNamed}</td>
      <td>
        <code>{row.settings.slice(0, 8)}</code>
      </td>
      <td>
        {row.version > 0 && (
          <a class="button" href={`/v1/settings/${row.version}/file`} download>
            {t.export}
          </a>
        )}
      </td>
    </tr>
  );
}

function Audit({ audit, language, t }: Pick<Props, "audit" | "language" | "t">) {
  if (audit.length === 0) return null;
  return (
    <section class="card">
      <h2>{t.audit}</h2>
      <table>
        <tbody>
          {audit.map(({ at, who, what, detail }) => (
            <tr key={`${at} ${detail}`}>
              <td>{timeText(at, language)}</td>
              <td>{who}</td>
              <td>{t.audited[what] ?? what}</td>
              <td>
                <code>{detail}</code>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function TakeOver({ state, store, act, t }: Pick<Props, "state" | "store" | "act" | "t">) {
  const [file, setFile] = useState<File | null>(null);
  const [fingerprint, setFingerprint] = useState("");
  const [taken, setTaken] = useState<number | null>(null);
  const take = () =>
    act(async () => {
      if (!file) return;
      const query = fingerprint.trim() === "" ? "" : `?fingerprint=${encodeURIComponent(fingerprint.trim())}`;
      const bytes = new Blob([await file.arrayBuffer()], { type: "application/octet-stream" });
      setTaken((await store.ask<SettingsRow>("POST", `/v1/settings${query}`, bytes)).version);
      await store.readSettings();
    });
  return (
    <section class="card">
      <h2>{t.takeFile}</h2>
      <p class="hint">{t.takeFileHint}</p>
      <form
        class="take-over"
        onSubmit={(event) => {
          event.preventDefault();
          void take();
        }}
      >
        <label>
          {t.file} <input type="file" required onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)} />
        </label>
        <label>
          {t.fingerprint}{" "}
          <input
            value={fingerprint}
            size={40}
            maxLength={39}
            placeholder="0123-4567-89ab-cdef-0123-4567-89ab-cdef"
            onInput={(event) => setFingerprint(event.currentTarget.value)}
          />
        </label>
        <button type="submit">{t.take}</button>
      </form>
      {taken !== null && <p role="status">{t.taken(taken)}</p>}
      <p>
        {t.ofThisDevice}: <code>{state.fingerprint}</code>
      </p>
    </section>
  );
}
