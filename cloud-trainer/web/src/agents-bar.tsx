/** The agents this hub knows: whether each is there, what it runs, and what it still has to send. */
import type { AgentRow } from "@kenpin/schema";
import type { Texts } from "./texts.ts";

export function AgentsBar({ agents, t }: { agents: AgentRow[]; t: Texts }) {
  if (agents.length === 0) return <p class="agents empty">{t.noAgents}</p>;
  return (
    <ul class="agents">
      {agents.map((row) => (
        <Agent key={`${row.site}/${row.agent}`} row={row} t={t} />
      ))}
    </ul>
  );
}

function Agent({ row: { site, agent, status, reported, desired, drift }, t }: { row: AgentRow; t: Texts }) {
  const state = status?.state ?? "never";
  const words = { online: t.online, offline: t.offline, never: t.neverHeard }[state];
  const pending = desired !== null && reported?.digest !== desired.digest;
  return (
    <li class={`agent ${state}`}>
      <span class="lamp" aria-hidden="true" />
      <strong>
        {site}/{agent}
      </strong>
      <span class="state">{words}</span>
      {reported ? (
        <span>
          {t.bundle} <code>{reported.digest.slice(0, 8)}</code> · {t.release} {reported.release} · {t.references} {reported.references}
        </span>
      ) : (
        <span>{t.noBundle}</span>
      )}
      <span>
        {t.backlog} {status?.backlog ?? 0}
      </span>
      {drift
        .filter(({ state }) => state === "drifting")
        .map(({ camera, since, figures: [most] }) => (
          <span key={camera} class="tag warning" title={`${t.since} ${new Date(since).toLocaleString()}`}>
            {t.drifting} {camera}
            {most && `: ${t.driftFigures[most.name]} ${most.reference.p50.toFixed(2)} → ${most.window.p50.toFixed(2)}`}
          </span>
        ))}
      {pending && reported?.state !== "refused" && <span class="tag">{t.rolloutPending}</span>}
      {reported?.state === "refused" && (
        <span class="tag warning" title={reported.reason}>
          {t.refusedBundle}
        </span>
      )}
    </li>
  );
}
