/**
 * Which provider really ran a model, from ONNX Runtime's own profile: asking for one promises nothing, since nodes that it does
 * not take run on the CPU without a word. In: the profile's events. Out: each provider's share of the nodes' time.
 */
import { Provider } from "@kenpin/schema";
import { z } from "zod";
import type { RanOn } from "./runtime.ts";

const Event = z.object({ cat: z.string(), name: z.string(), dur: z.number(), args: z.object({ provider: z.string().optional() }) });
const ENDING = /ExecutionProvider$/;

export function ranOn(events: unknown): RanOn {
  const times = new Map<Provider, number>();
  for (const event of z.array(z.unknown()).parse(events)) {
    const { data } = Event.safeParse(event);
    if (data?.cat !== "Node" || !data.name.endsWith("_kernel_time")) continue;
    const provider = Provider.safeParse(data.args.provider?.replace(ENDING, "").toLowerCase()).data;
    if (provider) times.set(provider, (times.get(provider) ?? 0) + data.dur);
  }
  const total = [...times.values()].reduce((sum, time) => sum + time, 0);
  return Object.fromEntries([...times].map(([provider, time]) => [provider, time / Math.max(1, total)]));
}
