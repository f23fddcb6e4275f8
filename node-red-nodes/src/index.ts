/** Every node by its type, as the files that Node-RED loads ask for it. */
import { kenpinAgent } from "./kenpin-agent.ts";
import { kenpinDrift } from "./kenpin-drift.ts";
import { kenpinInspect } from "./kenpin-inspect.ts";
import { kenpinLabel } from "./kenpin-label.ts";
import { kenpinLink } from "./kenpin-link.ts";
import { kenpinRollout } from "./kenpin-rollout.ts";
import { kenpinSample } from "./kenpin-sample.ts";
import { kenpinVerdict } from "./kenpin-verdict.ts";

export const nodes = {
  "kenpin-link": kenpinLink,
  "kenpin-inspect": kenpinInspect,
  "kenpin-verdict": kenpinVerdict,
  "kenpin-label": kenpinLabel,
  "kenpin-agent": kenpinAgent,
  "kenpin-rollout": kenpinRollout,
  "kenpin-drift": kenpinDrift,
  "kenpin-sample": kenpinSample,
};
