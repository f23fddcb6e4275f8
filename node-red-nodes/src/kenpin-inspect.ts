/**
 * kenpin-inspect: asks an agent what it says of a picture; nothing is computed in Node-RED. In: msg.payload as a picture's bytes, path or
 * address; msg.trigger and msg.part go into the verdict, msg.words replaces the node's own words. Out: the verdict on the first output,
 * the heat map as PNG on the second. With words the verdict is a try-out that the agent records nowhere.
 */
import { parseAtDoor, WordsRequest } from "@kenpin/schema";
import { z } from "zod";
import { outcomeStatus } from "./kenpin-verdict.ts";
import { onInput, registerLinked } from "./linked-node.ts";
import type { Message, Red } from "./node-red.ts";
import { Accepts, pictureOf } from "./picture-source.ts";
import { Turns } from "./turns.ts";

/** Beyond the agent's own one at a time, so that it never waits for Node-RED; below its `lineDoor.inspect.waiting`. */
const AT_ONCE = 4;
const WAITING = 100;

const words = z
  .string()
  .max(20_000)
  .default("")
  .transform((text) =>
    text
      .split(/[,、\n]+/)
      .map((word) => word.trim())
      .filter((word) => word !== ""),
  );
const InspectConfig = z.object({
  accepts: Accepts.default("any"),
  map: z.boolean().default(false),
  object: z.string().trim().max(100).default(""),
  good: words,
  bad: words,
});
type InspectConfig = z.infer<typeof InspectConfig>;
const Shown = z.coerce.string().min(1).max(200).optional();

export function kenpinInspect(RED: Red): void {
  registerLinked(RED, "kenpin-inspect", {
    schema: InspectConfig,
    peers: ["agent"],
    start: (node, config, { link, show, closed }) => {
      const turns = new Turns({ atOnce: AT_ONCE, waiting: WAITING });
      onInput(node, async (message, send) => {
        const own = wordsOf(config, message);
        const { trigger, part } = message;
        const about = { trigger: parseAtDoor(Shown, trigger, "msg.trigger"), part: parseAtDoor(Shown, part, "msg.part") };
        const picture = message.payload;
        const { verdict, map } = await turns.take(async () => {
          const bytes = await pictureOf(picture, config.accepts, closed);
          return link.agent().inspect(bytes, { map: config.map, ...about, words: own, signal: closed });
        });
        show(outcomeStatus(verdict));
        const drawn = map && { ...message, payload: map, verdict };
        send([Object.assign(message, { payload: verdict, picture }), drawn]);
      });
    },
  });
}

function wordsOf({ object, good, bad }: InspectConfig, { words: given }: Message): WordsRequest | undefined {
  if (given !== undefined) return parseAtDoor(WordsRequest, { object: "", good: [], bad: [], ...Object(given) }, "msg.words");
  if (object === "" && good.length === 0 && bad.length === 0) return undefined;
  return parseAtDoor(WordsRequest, { object, good, bad }, "the node's words");
}
