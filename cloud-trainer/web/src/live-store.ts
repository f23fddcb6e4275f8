/**
 * What the page knows: read once from the hub, then kept up to date by its events. When the connection comes back after a
 * gap everything is read anew, so a missed event never stays missing. Out: a snapshot for the views, a new one a change.
 */
import type { AgentRow, HubEvent, HubSummary, Label, Me, RunProgress, RunRow, SampleRow, VerdictRow } from "@kenpin/schema";

export type Snapshot = {
  connection: "loading" | "live" | "away";
  me: Me | null;
  agents: AgentRow[];
  summary: HubSummary | null;
  /** Newest first. */
  verdicts: VerdictRow[];
  /** By the verdict they belong to. */
  samples: Map<string, SampleRow>;
  run: RunRow | null;
  curve: RunProgress[];
};

const SHOWN_VERDICTS = 120;
const SUMMARY_PAUSE_MS = 1000;
const RETRY_MS = 2000;

export class LiveStore {
  snapshot: Snapshot = {
    connection: "loading",
    me: null,
    agents: [],
    summary: null,
    verdicts: [],
    samples: new Map(),
    run: null,
    curve: [],
  };
  #onChange: () => void;
  #drawn = true;
  #summaryAsked: "no" | "waiting" | "reading" | "again" = "no";
  /** While the state is read, events wait here, so that an older answer never overwrites a newer event. */
  #held: HubEvent[] | null = null;

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
    events.onmessage = ({ data }) => {
      const event = JSON.parse(data) as HubEvent;
      if (this.#held) this.#held.push(event);
      else this.#take(event);
    };
  }

  /** Resolves with what went wrong, or null. */
  async label(sample: string, label: Label["label"]): Promise<string | null> {
    const body: Label[] = [{ sample, label, by: this.snapshot.me?.name ?? "operator" }];
    try {
      const response = await fetch("/v1/labels", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      if (response.ok) return null;
      return ((await response.json()) as { message: string }).message;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** EventSource gives up on an error status: either nobody is signed in, or the hub is not up yet. */
  async #comeBack(): Promise<void> {
    const response = await fetch("/v1/me").catch(() => null);
    if (response?.status === 401) location.assign("/login");
    else setTimeout(() => this.start(), RETRY_MS);
  }

  async #readAll(): Promise<void> {
    this.#held ??= [];
    try {
      const [me, agents, summary, verdicts, samples, runs] = await Promise.all([
        get<Me>("/v1/me"),
        get<AgentRow[]>("/v1/agents"),
        get<HubSummary>("/v1/summary"),
        get<VerdictRow[]>(`/v1/verdicts?newest&limit=${SHOWN_VERDICTS}`),
        get<SampleRow[]>("/v1/samples"),
        get<RunRow[]>("/v1/runs"),
      ]);
      const run = runs[0] ?? null;
      const curve = run ? await get<RunProgress[]>(`/v1/runs/${run.id}/progress`) : [];
      const byVerdict = new Map(samples.map((row) => [row.sample.verdictId, row]));
      this.#set({ connection: "live", me, agents, summary, verdicts, samples: byVerdict, run, curve });
      const held = this.#held;
      this.#held = null;
      for (const event of held) this.#take(event);
      if (held.length > 0) this.#readSummarySoon(); // what waited may be in the counts already
    } catch {
      setTimeout(() => void this.#readAll(), RETRY_MS);
    }
  }

  #take(event: HubEvent): void {
    const { agents, samples, summary } = this.snapshot;
    if (event.type === "verdict") this.#takeVerdict(event.data);
    else if (event.type === "agent") {
      const others = agents.filter(({ site, agent }) => site !== event.data.site || agent !== event.data.agent);
      const sorted = [...others, event.data].sort((a, b) => `${a.site}/${a.agent}`.localeCompare(`${b.site}/${b.agent}`));
      this.#set({ agents: sorted });
    } else if (event.type === "sample") {
      this.#set({ samples: new Map(samples).set(event.data.sample.verdictId, event.data) });
      this.#readSummarySoon();
    } else if (event.type === "run") this.#takeRun(event.data);
    else if (summary) this.#set({ summary: { ...summary, broker: event.data.state } });
  }

  #takeVerdict(row: VerdictRow): void {
    const { verdicts, summary } = this.snapshot;
    if ((verdicts[0]?.row ?? 0) >= row.row) return; // it came with the list already
    const counts = summary && { ...summary.verdicts, [row.verdict.outcome]: summary.verdicts[row.verdict.outcome] + 1 };
    this.#set({
      verdicts: [row, ...verdicts].slice(0, SHOWN_VERDICTS),
      ...(summary && counts && { summary: { ...summary, verdicts: counts } }),
    });
  }

  #takeRun(run: RunRow): void {
    const curve = this.snapshot.run?.id === run.id ? this.snapshot.curve : [];
    this.#set({ run, curve: run.progress && run.state === "running" ? [...curve, run.progress] : curve });
  }

  /**
   * Samples come and are labelled in bursts; their counts are read once a burst. One reading at a time, so that an older
   * answer never overwrites a newer one; what changes meanwhile, and a reading that failed, is read again.
   */
  #readSummarySoon(): void {
    if (this.#summaryAsked === "reading") this.#summaryAsked = "again";
    if (this.#summaryAsked !== "no") return;
    this.#summaryAsked = "waiting";
    window.setTimeout(() => void this.#readSummary(), SUMMARY_PAUSE_MS);
  }

  async #readSummary(): Promise<void> {
    this.#summaryAsked = "reading";
    const summary = await get<HubSummary>("/v1/summary").catch(() => null);
    const again = summary === null || (this.#summaryAsked as string) === "again";
    this.#summaryAsked = "no";
    if (summary) this.#set({ summary });
    if (again && this.snapshot.connection === "live") this.#readSummarySoon();
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

async function get<T>(path: string): Promise<T> {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json() as Promise<T>;
}
