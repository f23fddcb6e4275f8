/**
 * How many pictures a second go through a Node-RED flow to a real agent and back, and what that does to Node-RED's event loop.
 *   node --conditions=kenpin-source test/bench/node-red.ts [--model DIR] [--rate 50] [--seconds 20] [--side 250] [--out FILE]
 * A flow sends the textile frames as bytes at `rate` a second to kenpin-inspect; asked is what it sent, answered what came out within
 * the time, refused what reached the catch node. The delay is that of Node-RED's own process (perf_hooks, 1 ms resolution); `late` is
 * a verdict's way through the flow. Broker, agent, inspector and Node-RED share the machine.
 */
import { cpus } from "node:os";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { writeFileSync } from "node:fs";
import sharp from "sharp";
import { DOOR_TOKEN, doorClient, openAskedSite } from "../edge-agent/asked-site.ts";
import { filled, type FlowNode, startNodeRed } from "../node-red-nodes/node-red.ts";
import { baseBundle, textile } from "../support/base-bundle.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: resolve(import.meta.dirname, "../../cloud-trainer/student") },
    rate: { type: "string", default: "50" },
    seconds: { type: "string", default: "20" },
    side: { type: "string", default: "250" },
    version: { type: "string", default: "5" },
    out: { type: "string" },
  },
});
const [rate, seconds, side] = [Number(values.rate), Number(values.seconds), Number(values.side)];
const WARM_MS = 3000;

type Figures = {
  sent: number;
  answered: number;
  refused: number;
  delay: Record<string, number>;
  late: Record<string, number>;
  unknown: number;
};

const site = await openAskedSite({ bundle: await baseBundle({ textTower: false, modelDir: values.model }) }, { waiting: 64 });
const { url } = await doorClient(site);
const frames = await Promise.all(
  (await textile("good", 20)).map(async ({ bytes }) => (await sharp(bytes).resize(side, side).jpeg().toBuffer()).toString("base64")),
);
const red = await startNodeRed({ version: values.version === "5" ? "5" : "4.1" });
try {
  await red.deploy(flowOf(frames, url));
  await sleep(WARM_MS);
  await (await fetch(`${red.url}/begin`)).text();
  await sleep(seconds * 1000);
  const figures = (await (await fetch(`${red.url}/end`)).json()) as Figures;
  const result = {
    nodeRed: values.version,
    node: process.version,
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    model: values.model.split("/").at(-1),
    side,
    asked: rate,
    seconds,
    perSecond: figures.answered / seconds,
    ...figures,
  };
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  if (values.out) writeFileSync(values.out, `${JSON.stringify(result)}\n`);
} finally {
  await red.stop();
  await site.close();
}

function flowOf(pictures: string[], agent: string): FlowNode[] {
  const z = "bench00000000tab";
  const fun = (id: string, func: string, wires: string[][]) => ({
    id,
    type: "function",
    z,
    func,
    outputs: wires.length,
    initialize: "",
    wires,
  });
  const count = "const figures = global.get('figures');\nconst now = () => Number(global.get('process').hrtime.bigint()) / 1e6;\n";
  return [
    { id: z, type: "tab", label: "bench" },
    { id: "bench0000000link", type: "kenpin-link", ...filled({ agent, agentToken: DOOR_TOKEN }) },
    {
      id: "bench000000clock",
      type: "inject",
      z,
      props: [{ p: "payload" }],
      repeat: String(1 / rate),
      once: true,
      onceDelay: 0.1,
      payload: "",
      payloadType: "date",
      wires: [["bench000000frame"]],
    },
    {
      ...fun(
        "bench000000frame",
        `${count}const list = context.get('list');\nconst next = (context.get('next') ?? 0) + 1;\ncontext.set('next', next);\nif (figures) figures.sent++;\nreturn { payload: list[next % list.length], sentAt: now() };`,
        [["bench0000000000a"]],
      ),
      initialize: `context.set('list', ${JSON.stringify(pictures)}.map((text) => Buffer.from(text, 'base64')));`,
    },
    {
      id: "bench0000000000a",
      type: "kenpin-inspect",
      z,
      link: "bench0000000link",
      accepts: "bytes",
      map: false,
      object: "",
      good: "",
      bad: "",
      wires: [["bench00000000got"], []],
    },
    fun(
      "bench00000000got",
      `${count}if (!figures) return;\nfigures.answered++;\nif (msg.payload.reason) figures.unknown++;\nfigures.lates.push(now() - msg.sentAt);`,
      [[]],
    ),
    { id: "bench000000catch", type: "catch", z, scope: null, uncaught: false, wires: [["bench000000wrong"]] },
    fun("bench000000wrong", `${count}if (figures) figures.refused++;`, [[]]),
    { id: "bench000000begin", type: "http in", z, url: "/begin", method: "get", wires: [["bench00000start"]] },
    fun(
      "bench00000start",
      "const delay = global.get('monitorEventLoopDelay')({ resolution: 1 });\ndelay.enable();\nglobal.set('delay', delay);\nglobal.set('figures', { sent: 0, answered: 0, refused: 0, unknown: 0, lates: [] });\nmsg.payload = 'begun';\nreturn msg;",
      [["bench0000000http"]],
    ),
    { id: "bench00000000end", type: "http in", z, url: "/end", method: "get", wires: [["bench000000stop0"]] },
    fun(
      "bench000000stop0",
      "const delay = global.get('delay');\ndelay.disable();\nconst { lates, ...figures } = global.get('figures');\nlates.sort((a, b) => a - b);\nconst at = (q) => lates[Math.floor(q * (lates.length - 1))] ?? null;\nconst ms = (ns) => ns / 1e6;\nmsg.payload = { ...figures, delay: { p50: ms(delay.percentile(50)), p99: ms(delay.percentile(99)), max: ms(delay.max) }, late: { p50: at(0.5), p99: at(0.99) } };\nreturn msg;",
      [["bench0000000http"]],
    ),
    { id: "bench0000000http", type: "http response", z, wires: [] },
  ];
}
