/** Outcomes and labels as shape, colour and word together, so that no one of them has to be seen. */
import type { Verdict } from "@kenpin/schema";
import type { Words } from "./language.ts";

type Mark = Verdict["outcome"];

/** Circle with a tick, octagon with a cross, square with a question mark. */
export function Shape({ mark }: { mark: Mark }) {
  return (
    <svg class={`shape ${mark}`} viewBox="0 0 24 24" aria-hidden="true">
      {mark === "pass" && (
        <>
          <circle cx="12" cy="12" r="11" />
          <path d="m7 12.5 3.5 3.5 6.5-7.5" />
        </>
      )}
      {mark === "fail" && (
        <>
          <path class="body" d="M7.5 1h9L23 7.5v9L16.5 23h-9L1 16.5v-9Z" />
          <path d="m8 8 8 8m0-8-8 8" />
        </>
      )}
      {mark === "unknown" && (
        <>
          <rect x="1.5" y="1.5" width="21" height="21" rx="3" />
          <path d="M9 9.2a3 3 0 1 1 4.3 2.7c-.9.5-1.3 1-1.3 2.1m0 3.2v.3" />
        </>
      )}
    </svg>
  );
}

export function OutcomeMark({ outcome, t }: { outcome: Mark; t: Words }) {
  return (
    <span class={`outcome ${outcome}`}>
      <Shape mark={outcome} />
      {t[outcome]}
    </span>
  );
}
