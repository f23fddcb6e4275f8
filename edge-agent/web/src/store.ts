/**
 * What the page knows: read once from the agent, then kept up to date by its events. When the connection comes back after a gap
 * everything is read anew. In: the agent's interface. Out: a snapshot for the views, a new one a change, and the calls they make.
 */
import { ask, followEvents, oncePerFrame } from "@kenpin/page/web";
import type { AuditRow, PageEvent, PageState, SettingsRow, SetupState } from "@kenpin/schema";

export type Snapshot = {
  connection: "loading" | "live" | "away";
  state: PageState | null;
  setup: SetupState | null;
  settings: SettingsRow[];
  audit: AuditRow[];
};

const SHOWN_VERDICTS = 60;
const SHOWN_FAILS = 12;

export class Store {
  snapshot: Snapshot = { connection: "loading", state: null, setup: null, settings: [], audit: [] };
  readonly ask = ask;
  #draw: () => void;

  constructor(onChange: () => void) {
    this.#draw = oncePerFrame(onChange);
  }

  start(): void {
    followEvents<PageEvent>({
      probe: "/v1/state",
      read: () => this.#readAll(),
      onNews: (event) => this.#take(event),
      onAway: () => this.#set({ connection: this.snapshot.connection === "loading" ? "loading" : "away" }),
    });
  }

  async readSettings(): Promise<void> {
    const [state, settings, audit] = await Promise.all([
      ask<PageState>("GET", "/v1/state"),
      ask<SettingsRow[]>("GET", "/v1/settings"),
      ask<AuditRow[]>("GET", "/v1/audit"),
    ]);
    this.#set({ state, settings, audit });
  }

  async #readAll(): Promise<void> {
    const [setup] = await Promise.all([ask<SetupState>("GET", "/v1/setup"), this.readSettings()]);
    this.#set({ connection: "live", setup });
  }

  #take(event: PageEvent): void {
    const { state } = this.snapshot;
    if (event.type === "setup") this.#set({ setup: event.data });
    else if (event.type === "changed") void this.readSettings();
    else if (state) {
      const verdict = event.data;
      const others = state.verdicts.filter(({ id }) => id !== verdict.id);
      const verdicts = [verdict, ...others].slice(0, SHOWN_VERDICTS);
      const fails =
        verdict.outcome === "fail" ? [verdict, ...state.fails.filter(({ id }) => id !== verdict.id)].slice(0, SHOWN_FAILS) : state.fails;
      this.#set({ state: { ...state, verdicts, fails } });
    }
  }

  #set(part: Partial<Snapshot>): void {
    this.snapshot = { ...this.snapshot, ...part };
    this.#draw();
  }
}
