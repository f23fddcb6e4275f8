/**
 * kenpin-label: what somebody says of a sample, brought to the hub. In: good, bad or unsure in msg.payload (or set in the node), the sample
 * as msg.sample (its frame's sha256, or the sample or verdict itself). Out: the message with the label that was stored.
 */
import { KenpinError, Label, parseAtDoor, Sha256 } from "@kenpin/schema";
import { z } from "zod";
import { onInput, registerLinked } from "./linked-node.ts";
import type { Message, Red } from "./node-red.ts";

const LabelConfig = z.object({
  label: z.enum(["message", "good", "bad", "unsure"]).default("message"),
  defect: z.string().trim().max(64).default(""),
  by: z.string().trim().max(64).default(""),
});
type LabelConfig = z.infer<typeof LabelConfig>;

const LOOK = { good: "green", bad: "red", unsure: "yellow" } as const;

export function kenpinLabel(RED: Red): void {
  registerLinked(RED, "kenpin-label", {
    schema: LabelConfig,
    peers: ["hub"],
    start: (node, config, { link, show }) => {
      onInput(node, async (message, send) => {
        const label = labelOf(config, message);
        await link.hub().label([label]);
        show({ fill: LOOK[label.label], shape: "dot", text: `kenpin.label.${label.label}` });
        send(Object.assign(message, { payload: label }));
      });
    },
  });
}

function labelOf(config: LabelConfig, message: Message): Label {
  const said = config.label === "message" ? message.payload : config.label;
  const defect = message["defect"] ?? (config.defect || undefined);
  const by = message["by"] ?? (config.by || "node-red");
  return parseAtDoor(Label, { sample: frameOf(message), label: said, ...(defect !== undefined && { defect }), by }, "the label");
}

/** A sample or a verdict names its frame; so does the payload where the node itself says what the label is. */
function frameOf({ sample, payload }: Message): string {
  for (const named of [sample, payload]) {
    const sha256 = typeof named === "object" && named !== null ? (named as { frame?: { sha256?: unknown } }).frame?.sha256 : named;
    const parsed = Sha256.safeParse(sha256);
    if (parsed.success) return parsed.data;
  }
  throw new KenpinError("sample-missing", "msg.sample should name the sample: its frame's sha256, or the sample as kenpin-sample gives it");
}
