/**
 * The inspector's process: reads requests on stdin, answers on stdout, one at a time; see protocol.ts.
 * It ends when its stdin does, so it never outlives the agent that started it.
 */
import { errorLine, KenpinError } from "@kenpin/schema";
import { openInspection } from "./inspection.ts";
import { encodeMessage, type Header, type Message, messageReader } from "./protocol.ts";
import type { RunInput } from "./run-model.ts";
import { type Feed, type Model, openModel } from "./session.ts";
import type { Lesson } from "./teaching.ts";

let inspection: Awaited<ReturnType<typeof openInspection>> | null = null;
let tower: { path: string; threads: number | undefined; model: Model } | null = null;
let turn: Promise<void> = Promise.resolve();

process.stdin.on(
  "data",
  messageReader((message) => {
    turn = turn.then(() => answer(message));
  }),
);
process.stdin.on("end", () => process.exit(0));

async function answer({ header, body }: Message): Promise<void> {
  try {
    const { result, body: out } = await perform(header, body);
    process.stdout.write(encodeMessage({ header: { id: header.id, ok: true, result }, body: out ?? new Uint8Array() }));
  } catch (error) {
    const code = error instanceof KenpinError ? error.code : "inspector-failed";
    const message = error instanceof KenpinError ? error.message : errorLine(error);
    process.stdout.write(encodeMessage({ header: { id: header.id, error: { code, message } }, body: new Uint8Array() }));
  }
}

async function perform(header: Header, body: Uint8Array): Promise<{ result: unknown; body?: Uint8Array }> {
  if (header["op"] === "embed-text") return { result: await embedTexts(header) };
  if (header["op"] === "embed-images") return embedImages(header, body);
  if (header["op"] === "run") return runModel(header, body);
  if (header["op"] === "open") {
    inspection = await openInspection(String(header["bundleDir"]), header["threads"] as number | undefined);
    return { result: { provider: inspection.provider, precision: inspection.precision } };
  }
  if (!inspection) throw new KenpinError("model-not-ready", "no bundle has been opened in this inspector yet");
  if (header["op"] === "show") return { result: { digest: await inspection.show(body) } };
  if (header["op"] === "teach") return { result: await inspection.teach(header["lessons"] as Lesson[]) };
  if (header["op"] === "save-bank") return { result: {}, body: inspection.saveBank() };
  if (header["op"] === "load-bank") return { result: inspection.loadBank(body) };
  if (header["op"] === "inspect") {
    const { inspection: result, map } = await inspection.inspect(body, header["map"] === true);
    return { result, body: map };
  }
  throw new KenpinError("unknown-operation", `the inspector knows no operation "${String(header["op"])}"`);
}

/** Rows of text embeddings, one array each. */
async function embedTexts(header: Header): Promise<number[][]> {
  const model = await openTower(String(header["textModel"]), "text.onnx");
  const rows = header["inputIds"] as number[][];
  const ids = BigInt64Array.from(rows.flat().map(BigInt));
  const out = await model.run({ input_ids: { data: ids, dims: [rows.length, rows[0]?.length ?? 0] } });
  const embeds = out["text_embeds"] as Float32Array;
  const dim = embeds.length / rows.length;
  return rows.map((_, i) => [...embeds.subarray(i * dim, (i + 1) * dim)]);
}

async function embedImages(header: Header, body: Uint8Array): Promise<{ result: unknown; body: Uint8Array }> {
  const model = await openTower(String(header["visionModel"]), "vision.onnx");
  const side = Number(header["side"]);
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
  tower = { path, threads, model: await openModel(path, what, threads) };
  return tower.model;
}

/** Any model once; the time is the runtime's alone, without the pipe. */
async function runModel(header: Header, body: Uint8Array): Promise<{ result: unknown; body: Uint8Array }> {
  const path = String(header["model"]);
  const model = await openTower(path, path, header["threads"] as number | undefined);
  const feeds: Record<string, Feed> = {};
  let at = 0;
  for (const { name, type, dims } of header["inputs"] as RunInput[]) {
    const bytes = dims.reduce((size, n) => size * n, type === "int64" ? 8 : 4);
    const { buffer } = new Uint8Array(body.subarray(at, at + bytes)); // a copy of its own, because a part may start at any byte
    feeds[name] = type === "int64" ? { data: new BigInt64Array(buffer), dims } : { data: new Float32Array(buffer), dims };
    at += bytes;
  }
  const started = performance.now();
  const out = await model.run(feeds, header["outputs"] as string[] | undefined);
  const ms = performance.now() - started;
  const outputs = Object.entries(out).map(([name, { length }]) => ({ name, length }));
  const parts = Object.values(out).map((data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return { result: { outputs, ms }, body: Buffer.concat(parts) };
}
