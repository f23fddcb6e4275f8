/**
 * kenpin-verdict: what agents say of the parts, as they say it. In: nothing. Out: a message for each verdict that passes the filters,
 * once, however often the broker brings it: agents send again until their hub has acknowledged.
 */
import { Verdict } from "@kenpin/schema";
import { z } from "zod";
import { fitting, listed } from "./filter.ts";
import { registerLinked } from "./linked-node.ts";
import type { Red, Status } from "./node-red.ts";

/** Of verdicts; an agent that comes back after a night sends its backlog once. */
const REMEMBERED = 5000;

const bound = z.union([z.literal("").transform(() => undefined), z.coerce.number().min(0).max(1)]).optional();
const VerdictConfig = z.object({
  line: listed,
  agent: listed,
  camera: listed,
  pass: z.boolean().default(true),
  fail: z.boolean().default(true),
  unknown: z.boolean().default(true),
  scoreFrom: bound,
  scoreTo: bound,
});
type VerdictConfig = z.infer<typeof VerdictConfig>;

export function kenpinVerdict(RED: Red): void {
  registerLinked(RED, "kenpin-verdict", {
    schema: VerdictConfig,
    peers: ["broker"],
    start: (node, config, { link, show, onClose }) => {
      const seen = new Set<string>();
      const leave = link.hear("verdict", (topic, payload) => {
        const parsed = Verdict.safeParse(payload);
        if (!parsed.success) {
          node.error(`no verdict came on ${topic}: ${parsed.error.issues[0]?.message ?? "not JSON"} [verdict-malformed]`, {
            topic,
            payload,
          });
          return;
        }
        const verdict = parsed.data;
        if (!passes(config, verdict) || seen.has(verdict.id)) return;
        seen.add(verdict.id);
        const [oldest] = seen;
        if (oldest !== undefined && seen.size > REMEMBERED) seen.delete(oldest);
        show(outcomeStatus(verdict));
        node.send({ topic, payload: verdict });
      });
      onClose(leave);
    },
  });
}

/** The score, coloured; of an unknown part the reason. */
export function outcomeStatus({ outcome, reason, score }: Verdict): Status {
  if (outcome === "unknown") return { fill: "yellow", shape: "dot", text: `kenpin.reason.${reason ?? "other"}` };
  return { fill: outcome === "pass" ? "green" : "red", shape: "dot", text: score === null ? "–" : score.toFixed(2) };
}

function passes({ line, agent, camera, scoreFrom, scoreTo, ...outcomes }: VerdictConfig, verdict: Verdict): boolean {
  if (!outcomes[verdict.outcome] || !fitting(line, verdict.line) || !fitting(agent, verdict.agent) || !fitting(camera, verdict.camera)) {
    return false;
  }
  if (scoreFrom === undefined && scoreTo === undefined) return true;
  return verdict.score !== null && verdict.score >= (scoreFrom ?? 0) && verdict.score <= (scoreTo ?? 1);
}
