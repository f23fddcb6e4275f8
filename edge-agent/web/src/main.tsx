/**
 * The agent's page: live view, set-up wizard, settings. Joins the store to the views, holds the language and which view is shown (in
 * the address, so that the browser's own back and forward work). Every call's fault is said in one place.
 */
import { render } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { LiveView } from "./live-view.tsx";
import { SettingsView } from "./settings-view.tsx";
import { SetupView } from "./setup-view.tsx";
import { type Snapshot, Store } from "./store.ts";
import { firstLanguage, type Language, rememberLanguage, TEXTS, type Texts } from "./texts.ts";

const VIEWS = ["live", "setup", "settings"] as const;
type View = (typeof VIEWS)[number];
/** Does what was asked, and says what went wrong where it does not work. */
export type Act = (work: () => Promise<unknown>) => Promise<void>;

function Page() {
  const [language, setLanguage] = useState<Language>(firstLanguage);
  const [fault, setFault] = useState<string | null>(null);
  const view = useView();
  const { store, snapshot } = useStore();
  const t = TEXTS[language];
  useEffect(() => {
    document.documentElement.lang = language;
    document.title = `kenpin · ${{ live: t.live, setup: t.setUp, settings: t.settings }[view]}`;
  }, [language, view, t]);
  const switchLanguage = () => {
    const other = language === "en" ? "ja" : "en";
    rememberLanguage(other);
    setLanguage(other);
  };
  const act: Act = async (work) => {
    setFault(null);
    try {
      await work();
    } catch (error) {
      setFault((error as Error).message);
    }
  };
  const { state, setup, settings, audit } = snapshot;
  return (
    <>
      <TopBar snapshot={snapshot} view={view} t={t} onLanguage={switchLanguage} />
      <main>
        {snapshot.connection === "away" && (
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

function TopBar({ snapshot: { state }, view, t, onLanguage }: { snapshot: Snapshot; view: View; t: Texts; onLanguage: () => void }) {
  const names: Record<View, string> = { live: t.live, setup: t.setUp, settings: t.settings };
  return (
    <header class="top">
      <h1>
        kenpin <span lang="ja">検品</span>
      </h1>
      <span class="who">{state ? `${state.site} / ${state.line} / ${state.agent}` : ""}</span>
      <nav aria-label={t.pages}>
        {VIEWS.map((name) => (
          <a key={name} href={`#${name}`} aria-current={name === view ? "page" : undefined}>
            {names[name]}
          </a>
        ))}
      </nav>
      <button type="button" class="quiet" onClick={onLanguage} lang={t.otherLanguage === "English" ? "en" : "ja"}>
        {t.otherLanguage}
      </button>
      <form method="post" action="/logout">
        <button type="submit" class="quiet" title={state?.person}>
          {t.signOut}
        </button>
      </form>
    </header>
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

function useStore() {
  const [, redraw] = useState(0);
  const store = useMemo(() => new Store(() => redraw((times) => times + 1)), []);
  useEffect(() => store.start(), [store]);
  return { store, snapshot: store.snapshot };
}

render(<Page />, document.getElementById("page") as HTMLElement);
