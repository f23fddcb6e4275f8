/**
 * The inspector's process: reads requests on stdin, answers on stdout, one at a time; see protocol.ts.
 * It ends when its stdin does, so it never outlives the agent that started it, and when its runtime does.
 */
import { errorLine, KenpinError, parseAtDoor } from "@kenpin/schema";
import { openInspection } from "./inspection.ts";
import { measureModel } from "./measure-model.ts";
import { encodeMessage, type Message, messageReader, type Progress, Request } from "./protocol.ts";
import { startPythonRuntime } from "./python-runtime.ts";
import { type Feed, type Model, openModel, type Runtime } from "./runtime.ts";
import { nodeRuntime } from "./session.ts";

type Answered = { result: unknown; body?: Uint8Array };
type Op<Name extends Request["op"]> = Extract<Request, { op: Name }>;

let runtime: Runtime = nodeRuntime;
let inspection: Awaited<ReturnType<typeof openInspection>> | null = null;
let tower: { path: string; threads: number | undefined; model: Model } | null = null;
let turn: Promise<void> = Promise.resolve();

const read = messageReader((message) => {
  turn = turn.then(() => answer(message));
});
process.stdin.on("data", (chunk: Buffer) => {
  try {
    read(chunk);
  } catch (error) {
    leave(`stdin carries nothing of the agent's: ${errorLine(error)}`);
  }
});
process.stdin.on("end", () => process.exit(0));

/** With one line for whoever started it. */
function leave(why: string): void {
  process.stderr.write(`${why}\n`, () => process.exit(1));
}

async function answer({ header, body }: Message): Promise<void> {
  const { id } = header;
  const say = (answered: Record<string, unknown>, out: Uint8Array = new Uint8Array()) =>
    process.stdout.write(encodeMessage({ header: { id, ...answered }, body: out }));
  try {
    const request = parseAtDoor(Request, header, "a question to the inspector");
    const { result, body: out } = await perform(request, body, (progress) => say({ progress }));
    say({ ok: true, result }, out);
  } catch (error) {
    const code = error instanceof KenpinError ? error.code : "inspector-failed";
    const message = error instanceof KenpinError ? error.message : errorLine(error);
    say({ error: { code, message: message.slice(0, 2000) } });
  }
}

async function perform(request: Request, body: Uint8Array, onStep: (progress: Progress) => void): Promise<Answered> {
  switch (request.op) {
    case "runtime":
      return { result: await useRuntime(request.python) };
    case "measure":
      return { result: await measureModel(runtime, request, onStep) };
    case "open":
      return { result: await open(request, onStep) };
    case "embed-text":
      return { result: await embedTexts(request) };
    case "embed-images":
      return embedImages(request, body);
    case "run":
      return runModel(request, body);
  }
  if (!inspection) throw new KenpinError("model-not-ready", "no bundle has been opened in this inspector yet");
  switch (request.op) {
    case "show":
      return { result: { digest: await inspection.show(body) } };
    case "teach":
      return { result: await inspection.teach(request.lessons) };
    case "save-bank":
      return { result: {}, body: inspection.saveBank() };
    case "load-bank":
      return { result: inspection.loadBank(body) };
    case "inspect": {
      const { inspection: result, map } = await inspection.inspect(body, request.map);
      return { result, body: map };
    }
    case "heat": {
      const { inspection: result, heat } = await inspection.inspect(body, false);
      const { values, ...grid } = heat;
      return { result: { inspection: result, grid }, body: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
    }
  }
}

async function useRuntime(python: string | null): Promise<Pick<Runtime, "kind" | "version" | "offered" | "pid">> {
  if (python !== null) runtime = await startPythonRuntime(python, (why) => leave(`the Python runtime ${why}`));
  const { kind, version, offered, pid } = runtime;
  return { kind, version, offered, pid };
}

async function open({ bundleDir, batch, sightsDir, op: _op, id: _id, ...opening }: Op<"open">, onStep: (progress: Progress) => void) {
  inspection = await openInspection(bundleDir, { runtime, batch, sightsDir, opening, onStep });
  const { provider, passedOver, precision } = inspection;
  return { provider, passedOver, precision };
}

/** Rows of text embeddings, one array each. */
async function embedTexts({ textModel, inputIds: rows }: Op<"embed-text">): Promise<number[][]> {
  const model = await openTower(textModel, "text.onnx");
  const ids = BigInt64Array.from(rows.flat().map(BigInt));
  const out = await model.run({ input_ids: { data: ids, dims: [rows.length, rows[0]?.length ?? 0] } });
  const embeds = out["text_embeds"] as Float32Array;
  const dim = embeds.length / rows.length;
  return rows.map((_, i) => [...embeds.subarray(i * dim, (i + 1) * dim)]);
}

async function embedImages({ visionModel, side }: Op<"embed-images">, body: Uint8Array): Promise<Answered> {
  const model = await openTower(visionModel, "vision.onnx");
  const pixels = new Float32Array(new Uint8Array(body).buffer); // a copy of its own, because the message may start at any byte
  const count = pixels.length / (3 * side * side);
  const out = await model.run({ pixel_values: { data: pixels, dims: [count, 3, side, side] } });
  const embeds = out["image_embeds"] as Float32Array;
  return { result: { dim: embeds.length / count }, body: new Uint8Array(embeds.buffer, embeds.byteOffset, embeds.byteLength) };
}

/** The tower asked for last stays open: pictures and texts come in batches. */
async function openTower(path: string, what: string, threads?: number): Promise<Model> {
  if (tower?.path === path && tower.threads === threads) return tower.model;
  await tower?.model.release();
  tower = null;
  const opening = { providers: ["cpu" as const], ...(threads !== undefined && { threads }) };
  tower = { path, threads, model: await openModel(runtime, { file: path, what, opening }) };
  return tower.model;
}

/** Any model once; the time is the runtime's alone, without the pipe. */
async function runModel({ model: path, threads, inputs, outputs: wanted }: Op<"run">, body: Uint8Array): Promise<Answered> {
  const model = await openTower(path, path, threads);
  const feeds: Record<string, Feed> = {};
  let at = 0;
  for (const { name, type, dims } of inputs) {
    const bytes = dims.reduce((size, n) => size * n, type === "int64" ? 8 : 4);
    const { buffer } = new Uint8Array(body.subarray(at, at + bytes)); // a copy of its own, because a part may start at any byte
    feeds[name] = type === "int64" ? { data: new BigInt64Array(buffer), dims } : { data: new Float32Array(buffer), dims };
    at += bytes;
  }
  const started = performance.now();
  const out = await model.run(feeds, wanted);
  const ms = performance.now() - started;
  const outputs = Object.entries(out).map(([name, { length }]) => ({ name, length }));
  const parts = Object.values(out).map((data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return { result: { outputs, ms }, body: Buffer.concat(parts) };
}
