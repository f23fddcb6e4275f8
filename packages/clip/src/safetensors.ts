/**
 * safetensors: an 8-byte little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, then the bytes
 * (github.com/huggingface/safetensors, section "Format"). A large model is several such files and an index
 * {weight_map: {name: file}}. As the reference reader does, holes, overlaps and bytes that belong to no tensor are refused.
 */
import { errorLine, KenpinError } from "@kenpin/schema";
import { z } from "zod";
import { type ByteSource, type Checkpoint, numbersIn, shown, TENSOR_LIMIT, type Tensor } from "./checkpoint.ts";
import { FLOAT_BYTES, type FloatFormat, toFloat32 } from "./float-formats.ts";

/** 2,000 tensors take 250 kB; the reference reader allows 100 MB, which parsed would be a gigabyte. */
const HEADER_LIMIT_BYTES = 16 * 1024 * 1024;
/** Other formats may stand in a file (position ids, counters); only floats are ever read. */
const BYTES: Record<string, number> = { ...FLOAT_BYTES, I64: 8, U64: 8, I32: 4, U32: 4, I16: 2, U16: 2, I8: 1, U8: 1, BOOL: 1 };
const Entry = z.strictObject({
  dtype: z.string().max(16),
  shape: z.array(z.int().min(0)).max(8),
  data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
});
type Entry = z.infer<typeof Entry>;
/** File names only: an index never points out of its own folder. */
const Index = z.object({
  weight_map: z.record(z.string(), z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$/, "expected a plain file name")),
});

export async function openSafetensors(source: ByteSource): Promise<Checkpoint> {
  if (source.size < 8) throw broken(`the file has ${source.size} bytes, not even a header's length`);
  const first = await source.read(0, 8);
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true));
  if (length > source.size - 8) throw broken(`its header claims ${length} bytes of a file of ${source.size}`);
  if (length > HEADER_LIMIT_BYTES) throw broken(`its header claims ${length} bytes; at most ${HEADER_LIMIT_BYTES} are read`);
  const { metadata, tensors } = parseHeader(await source.read(8, length));
  const base = 8 + length;
  checkSpans(tensors, source.size - base);
  const entry = (name: string) => {
    const found = tensors.get(name);
    if (!found) throw new KenpinError("tensor-missing", `the checkpoint has no tensor ${shown(name)}`);
    return found;
  };
  return {
    format: "safetensors",
    metadata,
    names: [...tensors.keys()],
    shape: (name) => entry(name).shape,
    stored: (name) => entry(name).dtype,
    tensor: async (name) => {
      const { dtype, data_offsets: span } = entry(name);
      if (!Object.hasOwn(FLOAT_BYTES, dtype)) {
        throw new KenpinError("tensor-not-float", `tensor ${shown(name)} holds ${dtype}; expected F32, F16, BF16 or F64`);
      }
      return toFloat32(await source.read(base + span[0], span[1] - span[0]), dtype as FloatFormat);
    },
  };
}

/** Several files as one checkpoint. `open` gives the file of that name beside the index. */
export async function openSafetensorsIndex(index: unknown, open: (file: string) => Promise<ByteSource>): Promise<Checkpoint> {
  const parsed = Index.safeParse(index);
  if (!parsed.success) throw broken(`its index is wrong at ${where(parsed.error)}`);
  const places = new Map(Object.entries(parsed.data.weight_map));
  const files = new Map<string, Checkpoint>();
  for (const file of new Set(places.values())) files.set(file, await openSafetensors(await open(file)));
  const lost = [...places].filter(([name, file]) => !files.get(file)?.names.includes(name)).map(([name]) => shown(name));
  if (lost.length > 0) throw broken(`its index names ${lost.length} tensors that its files lack, ${lost.slice(0, 5).join(", ")} first`);
  const of = (name: string) => {
    const file = places.get(name);
    if (file === undefined) throw new KenpinError("tensor-missing", `the checkpoint has no tensor ${shown(name)}`);
    return files.get(file) as Checkpoint;
  };
  return {
    format: "safetensors",
    metadata: files.values().next().value?.metadata ?? {},
    names: [...places.keys()],
    shape: (name) => of(name).shape(name),
    stored: (name) => of(name).stored(name),
    tensor: (name) => of(name).tensor(name),
  };
}

/** All tensors at once, for small models. */
export async function readAllTensors(source: ByteSource): Promise<Map<string, Tensor>> {
  const checkpoint = await openSafetensors(source);
  const tensors = new Map<string, Tensor>();
  for (const name of checkpoint.names) tensors.set(name, { shape: checkpoint.shape(name), data: await checkpoint.tensor(name) });
  return tensors;
}

function parseHeader(bytes: Uint8Array): { metadata: Record<string, string>; tensors: Map<string, Entry> } {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw broken(`its header is no JSON: ${shown(errorLine(error))}`, error);
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw broken("its header is no JSON object");
  const entries = Object.entries(json);
  if (entries.length > TENSOR_LIMIT) throw broken(`its header names ${entries.length} tensors; at most ${TENSOR_LIMIT} are read`);
  const tensors = new Map<string, Entry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of entries) {
    if (name === "__metadata__") metadata = parseMetadata(value);
    else {
      const entry = Entry.safeParse(value);
      if (!entry.success) throw broken(`its header is wrong at tensor ${shown(name)}: ${where(entry.error)}`);
      tensors.set(name, entry.data);
    }
  }
  return { metadata, tensors };
}

function parseMetadata(value: unknown): Record<string, string> {
  const strings = z.record(z.string(), z.string()).safeParse(value);
  if (!strings.success) throw broken("its metadata holds something other than text");
  return strings.data;
}

/** Every tensor as long as its shape says, one after the other, from the first byte to the last. */
function checkSpans(tensors: Map<string, Entry>, available: number): void {
  let end = 0;
  for (const [name, { dtype, shape, data_offsets: span }] of [...tensors].sort(
    (a, b) => a[1].data_offsets[0] - b[1].data_offsets[0] || a[1].data_offsets[1] - b[1].data_offsets[1],
  )) {
    const size = Object.hasOwn(BYTES, dtype) ? (BYTES[dtype] as number) : 0;
    if (size === 0) throw broken(`tensor ${shown(name)} has the unknown number format ${shown(dtype)}`);
    const bytes = numbersIn(shape, name) * size;
    if (span[1] - span[0] !== bytes) throw broken(`tensor ${shown(name)} spans ${span[1] - span[0]} bytes where its shape needs ${bytes}`);
    if (span[0] !== end) throw broken(`tensor ${shown(name)} starts at byte ${span[0]} where ${end} was expected`);
    if (span[1] > available) throw broken(`it ends inside tensor ${shown(name)}; it was cut short`);
    end = span[1];
  }
  if (end !== available) throw broken(`${available - end} bytes behind the last tensor belong to none`);
}

function where(error: z.ZodError): string {
  const issue = error.issues[0] as z.core.$ZodIssue;
  return shown(`${issue.path.length > 0 ? `${issue.path.join(".")}: ` : ""}${issue.message}`);
}

function broken(why: string, cause?: unknown): KenpinError {
  return new KenpinError("checkpoint-broken", `this is no whole safetensors file: ${why}; fetch it again`, { cause });
}
