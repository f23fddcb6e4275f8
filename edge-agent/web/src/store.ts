/**
 * What the page knows: read once from the agent, then kept up to date by its events. When the connection comes back after a gap
 * everything is read anew. In: the agent's interface. Out: a snapshot for the views, a new one a change, and the calls they make.
 */
import type { AuditRow, ErrorBody, PageEvent, PageState, SettingsRow, SetupState } from "@kenpin/schema";

export type Snapshot = {
  connection: "loading" | "live" | "away";
  state: PageState | null;
  setup: SetupState | null;
  settings: SettingsRow[];
  audit: AuditRow[];
};

const RETRY_MS = 2000;
const SHOWN_VERDICTS = 60;
const SHOWN_FAILS = 12;

export class Store {
  snapshot: Snapshot = { connection: "loading", state: null, setup: null, settings: [], audit: [] };
  #onChange: () => void;
  #drawn = true;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  start(): void {
    const events = new EventSource("/v1/events");
    events.onopen = () => void this.#readAll();
    events.onerror = () => {
      this.#set({ connection: this.snapshot.connection === "loading" ? "loading" : "away" });
      if (events.readyState === EventSource.CLOSED) void this.#comeBack();
    };
    events.onmessage = ({ data }) => this.#take(JSON.parse(data) as PageEvent);
  }

  /** Asks the agent to do something; throws with its own line. */
  async ask<T>(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: unknown): Promise<T> {
    const isBytes = body instanceof Blob;
    const type = isBytes ? body.type || "application/octet-stream" : "application/json";
    const sent =
      method === "GET" || body === undefined ? {} : { body: isBytes ? body : JSON.stringify(body), headers: { "content-type": type } };
    const response = await fetch(path, { method, ...sent });
    if (response.status === 401) location.assign("/login");
    if (!response.ok) throw new Error(((await response.json()) as ErrorBody).message);
    return response.json() as Promise<T>;
  }

  async readSettings(): Promise<void> {
    const [state, settings, audit] = await Promise.all([
      this.ask<PageState>("GET", "/v1/state"),
      this.ask<SettingsRow[]>("GET", "/v1/settings"),
      this.ask<AuditRow[]>("GET", "/v1/audit"),
    ]);
    this.#set({ state, settings, audit });
  }

  /** EventSource gives up on an error status: either nobody is signed in, or the agent is not up yet. */
  async #comeBack(): Promise<void> {
    const response = await fetch("/v1/state").catch(() => null);
    if (response?.status === 401) location.assign("/login");
    else setTimeout(() => this.start(), RETRY_MS);
  }

  async #readAll(): Promise<void> {
    try {
      const [setup] = await Promise.all([this.ask<SetupState>("GET", "/v1/setup"), this.readSettings()]);
      this.#set({ connection: "live", setup });
    } catch {
      setTimeout(() => void this.#readAll(), RETRY_MS);
    }
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

  /** A burst of events draws the page once a frame. */
  #set(part: Partial<Snapshot>): void {
    this.snapshot = { ...this.snapshot, ...part };
    if (!this.#drawn) return;
    this.#drawn = false;
    requestAnimationFrame(() => {
      this.#drawn = true;
      this.#onChange();
    });
  }
}
