/**
 * What an agent, its inspector and the inspector's runtime say to each other over a child's stdin and stdout, in any language.
 *
 * A frame is: u32 big-endian length of the header, u32 length of the body, the header (JSON, UTF-8; spaces may follow), the body.
 * Requests carry `id` and `op`. Every one is answered once with the same `id` and either `ok: true` or `error: {code, message}`;
 * before that, `progress` may say what is begun and how long it may take. Answers come in the order of the requests.
 *
 * Asked of an inspector; `opening` is {providers, threads, gpuMemoryMb, engineDir}, all of it optional:
 *   runtime {python}                            → {kind, version, offered, pid}: from now on that interpreter runs the models
 *   open    {bundleDir, batch, sightsDir, ...opening} → {provider, passedOver, precision}
 *   measure {model, side, maxTiles, batches, budgetMs, ...opening} → {provider, passedOver, ranOn, openMs, times: [{batch, msPerTile}]}
 *   show    {} body = image bytes               → {digest}: looks at an exemplar and keeps what a teaching needs of it
 *   teach   {lessons: [{digest, label}]}        → Taught: by exemplars that were shown, in place of what was taught before
 *   save-bank {}                                → body = what was taught, see bank-file.ts
 *   load-bank {} body = such a file             → {lessons, taught}
 *   inspect {map: boolean} body = image bytes   → Inspection, body = heat map PNG or empty
 *   heat    {} body = image bytes               → {inspection, grid: {columns, rows, cellPx, width, height}}, body = the map's cells as
 *                float32: logits of each being defective
 *   embed-text   {textModel, inputIds}                                → rows of text_embeds
 *   embed-images {visionModel, side} body = pixel_values as float32   → {dim}, body = image_embeds as float32
 *   run          {model, threads, inputs: [{name, type, dims}], outputs} body = the inputs' numbers, one after the other
 *                → {outputs: [{name, length}], ms}, body = the outputs as float32
 *
 * Asked of a runtime (python/kenpin_runtime.py), which knows models and nothing of inspection:
 *   hello   {}                                  → {version, python, offered}
 *   open    {model | body, provider, threads, gpuMemoryMb, engineDir, shapes, profile} → {model: number}
 *   run     {model, inputs, outputs} body       → {outputs: [{name, length}]}, body as above
 *   close   {model}                             → {ranOn}: where it was opened with `profile`, each provider's share of the time
 */
import { KenpinError, Provider } from "@kenpin/schema";
import { z } from "zod";

export type Message = { header: Header; body: Uint8Array };

/** A header is small; a body is at most a frame, a model's numbers or a memory bank. Past that something is broken or hostile. */
const HEADER_LIMIT_BYTES = 1024 * 1024;
const BODY_LIMIT_BYTES = 512 * 1024 * 1024;
const PATH_LIMIT = 4096;
const LESSON_LIMIT = 10_000;

const Header = z.looseObject({ id: z.int().min(0) });
type Header = z.infer<typeof Header>;

const id = z.int().min(0);
const Path = z.string().min(1).max(PATH_LIMIT);
const Threads = z.int().min(1).max(1024);
export const Opening = z.object({
  providers: z.array(Provider).min(1).max(8).optional(),
  threads: Threads.optional(),
  gpuMemoryMb: z.int().min(1).optional(),
  engineDir: Path.optional(),
});
export type Opening = z.infer<typeof Opening>;
const Batch = z.int().min(1).max(256);
const RunInput = z.strictObject({
  name: z.string().max(200),
  type: z.enum(["float32", "int64"]),
  dims: z.array(z.int().min(0)).max(8),
});

/** What an inspector is asked. */
export const Request = z.discriminatedUnion("op", [
  z.strictObject({ id, op: z.literal("runtime"), python: Path.nullable() }),
  z.strictObject({ id, op: z.literal("open"), bundleDir: Path, batch: Batch.optional(), sightsDir: Path.optional(), ...Opening.shape }),
  z.strictObject({
    id,
    op: z.literal("measure"),
    model: Path,
    side: z.int().min(1).max(4096),
    maxTiles: Batch,
    batches: z.array(Batch).min(1).max(16),
    budgetMs: z.number().min(0),
    ...Opening.shape,
  }),
  z.strictObject({ id, op: z.literal("show") }),
  z.strictObject({
    id,
    op: z.literal("teach"),
    lessons: z.array(z.strictObject({ digest: z.string().length(64), label: z.enum(["good", "bad"]) })).max(LESSON_LIMIT),
  }),
  z.strictObject({ id, op: z.literal("save-bank") }),
  z.strictObject({ id, op: z.literal("load-bank") }),
  z.strictObject({ id, op: z.literal("inspect"), map: z.boolean() }),
  z.strictObject({ id, op: z.literal("heat") }),
  z.strictObject({
    id,
    op: z.literal("embed-text"),
    textModel: Path,
    inputIds: z
      .array(z.array(z.int().min(0)).max(1024))
      .min(1)
      .max(64),
  }),
  z.strictObject({ id, op: z.literal("embed-images"), visionModel: Path, side: z.int().min(1).max(4096) }),
  z.strictObject({
    id,
    op: z.literal("run"),
    model: Path,
    threads: Threads.optional(),
    inputs: z.array(RunInput).max(64),
    outputs: z.array(z.string().max(200)).max(512).optional(),
  }),
]);
export type Request = z.infer<typeof Request>;

/** Something that may take long is begun; the silence after it is no hang before `mayTakeMs` have passed. */
const Progress = z.strictObject({ step: z.enum(["open", "measure"]), provider: Provider, mayTakeMs: z.number().min(0) });
export type Progress = z.infer<typeof Progress>;

export const Answer = z.union([
  z.strictObject({ id, ok: z.literal(true), result: z.unknown() }),
  z.strictObject({ id, error: z.strictObject({ code: z.string().max(100), message: z.string().max(10_000) }) }),
  z.strictObject({ id, progress: Progress }),
]);

export function encodeMessage({ header, body }: Message): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32BE(json.length, 0);
  lengths.writeUInt32BE(body.length, 4);
  return Buffer.concat([lengths, json, body]);
}

/** Takes bytes as they come and calls back once a whole message is there; throws `inspector-garbage` on anything else. */
export function messageReader(onMessage: (message: Message) => void): (chunk: Buffer) => void {
  let pending: Buffer[] = [];
  let have = 0;
  return (chunk) => {
    pending.push(chunk);
    have += chunk.length;
    for (;;) {
      if (have < 8) return;
      if ((pending[0] as Buffer).length < 8) pending = [Buffer.concat(pending)];
      const first = pending[0] as Buffer;
      const [header, body] = [first.readUInt32BE(0), first.readUInt32BE(4)];
      if (header > HEADER_LIMIT_BYTES || body > BODY_LIMIT_BYTES) throw garbage(`a message of ${header} + ${body} bytes`);
      const whole = 8 + header + body;
      if (have < whole) return;
      const all = Buffer.concat(pending);
      pending = [all.subarray(whole)];
      have = all.length - whole;
      onMessage({ header: parseHeader(all.toString("utf8", 8, 8 + header)), body: all.subarray(8 + header, whole) });
    }
  };
}

function parseHeader(json: string): Header {
  try {
    return Header.parse(JSON.parse(json));
  } catch {
    throw garbage("a header that is none");
  }
}

function garbage(what: string): KenpinError {
  return new KenpinError("inspector-garbage", `the inspector's pipe carries ${what}; it is restarted`);
}
