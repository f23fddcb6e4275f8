/** Remembers the last line that was logged as an error, for whoever looks later. In: pino's hook. Out: the event, when, and why. */
import type { AgentSnapshot } from "@kenpin/schema";
import { type LoggerOptions, levels } from "pino";

type Remembered = { hooks: NonNullable<LoggerOptions["hooks"]>; last: () => AgentSnapshot["lastError"] };

const TEXT_LIMIT = 500;

export function rememberErrors(now: () => Date = () => new Date()): Remembered {
  let last: AgentSnapshot["lastError"] = null;
  return {
    hooks: {
      logMethod(args, method, level) {
        if (level >= (levels.values["error"] as number)) {
          const [facts, event] = args as unknown as [{ why?: unknown } | string, string | undefined];
          const why = typeof facts === "object" && facts.why !== undefined ? String(facts.why).slice(0, TEXT_LIMIT) : null;
          last = { at: now().toISOString(), event: String(typeof facts === "string" ? facts : event).slice(0, TEXT_LIMIT), why };
        }
        method.apply(this, args);
      },
    },
    last: () => last,
  };
}
