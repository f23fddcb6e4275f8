/**
 * kenpin-drift: whether what a camera shows, or how it scores, has moved away from its reference. In: nothing. Out: what each agent says of
 * each of its cameras, at every report and, since the broker keeps the last one, once at the start.
 */
import { Drift } from "@kenpin/schema";
import { z } from "zod";
import { fitting, listed } from "./filter.ts";
import { registerLinked } from "./linked-node.ts";
import type { Red, Status } from "./node-red.ts";

const DriftConfig = z.object({
  agent: listed,
  camera: listed,
  gathering: z.boolean().default(false),
  steady: z.boolean().default(true),
  drifting: z.boolean().default(true),
});

const FILL: Record<Drift["state"], NonNullable<Status["fill"]>> = { gathering: "grey", steady: "green", drifting: "yellow" };

export function kenpinDrift(RED: Red): void {
  registerLinked(RED, "kenpin-drift", {
    schema: DriftConfig,
    peers: ["broker"],
    start: (node, { agent, camera, ...states }, { link, show, onClose }) => {
      const leave = link.hear("drift", (topic, payload) => {
        const parsed = Drift.safeParse(payload);
        if (!parsed.success) {
          node.error(`no drift came on ${topic}: ${parsed.error.issues[0]?.message ?? "not JSON"} [drift-malformed]`, { topic, payload });
          return;
        }
        const drift = parsed.data;
        if (!states[drift.state] || !fitting(agent, drift.agent) || !fitting(camera, drift.camera)) return;
        show({ fill: FILL[drift.state], shape: "dot", text: `kenpin.drift.${drift.state}` });
        node.send({ topic, payload: drift });
      });
      onClose(leave);
    },
  });
}
