/**
 * The agent's page: live view, set-up wizard, settings. Joins the store to the views, holds the language and which view is shown (in
 * the address, so that the browser's own back and forward work). Every call's fault is said in one place.
 */
import { TopBar, useLanguage, useStore } from "@kenpin/page/web";
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { LiveView } from "./live-view.tsx";
import { SettingsView } from "./settings-view.tsx";
import { SetupView } from "./setup-view.tsx";
import { Store } from "./store.ts";
import { TEXTS, type Texts } from "./texts.ts";

const VIEWS = ["live", "setup", "settings"] as const;
type View = (typeof VIEWS)[number];
/** Does what was asked, and says what went wrong where it does not work. */
export type Act = (work: () => Promise<unknown>) => Promise<void>;

function Page() {
  const { language, t, switchLanguage } = useLanguage("kenpin-agent-language", TEXTS);
  const [fault, setFault] = useState<string | null>(null);
  const view = useView();
  const store = useStore((onChange) => new Store(onChange));
  const names: Record<View, string> = { live: t.live, setup: t.setUp, settings: t.settings };
  useEffect(() => {
    document.title = `kenpin · ${names[view]}`;
  }, [view, t]);
  const act: Act = async (work) => {
    setFault(null);
    try {
      await work();
    } catch (error) {
      setFault((error as Error).message);
    }
  };
  const { connection, state, setup, settings, audit } = store.snapshot;
  return (
    <>
      <TopBar person={state?.person ?? null} onLanguage={switchLanguage} t={t}>
        <span class="who">{state ? `${state.site} / ${state.line} / ${state.agent}` : ""}</span>
        <Views names={names} view={view} t={t} />
      </TopBar>
      <main>
        {connection === "away" && (
          <p class="warning" role="alert">
            {t.away}
          </p>
        )}
        {state?.plainHttp && <p class="notice">{t.plainHttp}</p>}
        {fault !== null && (
          <p class="warning" role="alert">
            <strong>{t.faultTitle}:</strong> {fault}
          </p>
        )}
        {(!state || !setup) && <p class="hint">{t.loading}</p>}
        {state && view === "live" && <LiveView state={state} t={t} />}
        {state && setup && view === "setup" && <SetupView state={state} setup={setup} store={store} act={act} t={t} />}
        {state && view === "settings" && (
          <SettingsView state={state} settings={settings} audit={audit} store={store} act={act} language={language} t={t} />
        )}
      </main>
    </>
  );
}

function Views({ names, view, t }: { names: Record<View, string>; view: View; t: Texts }) {
  return (
    <nav aria-label={t.pages}>
      {VIEWS.map((name) => (
        <a key={name} href={`#${name}`} aria-current={name === view ? "page" : undefined}>
          {names[name]}
        </a>
      ))}
    </nav>
  );
}

function useView(): View {
  const named = () => VIEWS.find((name) => `#${name}` === location.hash) ?? "live";
  const [view, setView] = useState<View>(named);
  useEffect(() => {
    const follow = () => setView(named());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return view;
}

render(<Page />, document.getElementById("page") as HTMLElement);
