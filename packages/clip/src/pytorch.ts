/**
 * A PyTorch checkpoint (torch.save's zip format, since PyTorch 1.6) as named float tensors.
 * data.pkl describes the tensors, data/<key> holds each storage's bytes; both are read in ranges. Nothing in the file is
 * ever run: see pickle.ts. A state dict may lie inside "module", "state_dict" or "model", as trainers wrap it.
 */
import { KenpinError } from "@kenpin/schema";
import { type ByteSource, type Checkpoint, numbersIn, shown, TENSOR_LIMIT } from "./checkpoint.ts";
import { FLOAT_BYTES, type FloatFormat, toFloat32 } from "./float-formats.ts";
import { isTensor, type PickleDict, type PickleValue, readPickle, type TensorRef } from "./pickle.ts";
import { openStoredZip, type ZipEntry } from "./zip-archive.ts";

const PICKLE_LIMIT_BYTES = 32 * 1024 * 1024;
const WRAPPERS = ["module", "state_dict", "model"];
const FORMATS: Record<string, FloatFormat> = {
  "torch.FloatStorage": "F32",
  "torch.HalfStorage": "F16",
  "torch.BFloat16Storage": "BF16",
  "torch.DoubleStorage": "F64",
};

export async function openPytorch(source: ByteSource): Promise<Checkpoint> {
  const entries = await openStoredZip(source);
  const pickle = [...entries.keys()].filter((name) => name === "data.pkl" || name.endsWith("/data.pkl"));
  if (pickle.length !== 1) throw broken(`it holds ${pickle.length} files called data.pkl where one is expected`);
  const root = (pickle[0] as string).slice(0, -"data.pkl".length);
  const table = entries.get(pickle[0] as string) as ZipEntry;
  if (table.size > PICKLE_LIMIT_BYTES) throw broken(`its table of tensors claims ${table.size} bytes`);
  await checkByteOrder(entries.get(`${root}byteorder`));
  const tensors = tensorsIn(readPickle(await table.read()));
  const entry = (name: string) => {
    const found = tensors.get(name);
    if (!found) throw new KenpinError("tensor-missing", `the checkpoint has no tensor ${shown(name)}`);
    return found;
  };
  return {
    format: "pytorch",
    metadata: {},
    names: [...tensors.keys()],
    shape: (name) => entry(name).shape,
    stored: (name) => FORMATS[entry(name).storage.type] ?? entry(name).storage.type,
    tensor: (name) => readTensor(name, entry(name), entries.get(`${root}data/${entry(name).storage.key}`)),
  };
}

async function checkByteOrder(entry: ZipEntry | undefined): Promise<void> {
  if (!entry || entry.size > 16) return;
  const order = new TextDecoder().decode(await entry.read());
  if (order !== "little") throw broken(`its numbers are ${shown(order)}-endian; save it on a little-endian machine`);
}

function tensorsIn(value: PickleValue): Map<string, TensorRef> {
  const dict = unwrap(value);
  const tensors = new Map<string, TensorRef>();
  for (const [name, inner] of dict) {
    if (typeof name !== "string") throw broken("its state dict has a key that is no text");
    if (isTensor(inner)) tensors.set(name, inner);
    else throw broken(`its entry ${shown(name)} is no tensor; expected a state dict`);
  }
  if (tensors.size > TENSOR_LIMIT) throw broken(`it holds ${tensors.size} tensors; at most ${TENSOR_LIMIT} are read`);
  return tensors;
}

/** Steps into "module", "state_dict" or "model" while one of them holds a dict; a dict that holds itself ends the steps. */
function unwrap(value: PickleValue): PickleDict {
  let dict = value;
  for (let depth = 0; depth < 4; depth++) {
    if (!(dict instanceof Map)) break;
    const outer: PickleDict = dict;
    const inner = WRAPPERS.map((key) => outer.get(key)).find((candidate) => candidate instanceof Map);
    if (!inner) return outer;
    dict = inner;
  }
  throw broken("it holds no state dict");
}

async function readTensor(
  name: string,
  { storage, offset, shape, strides }: TensorRef,
  entry: ZipEntry | undefined,
): Promise<Float32Array> {
  const format = FORMATS[storage.type];
  if (!format) throw new KenpinError("tensor-not-float", `tensor ${shown(name)} holds ${storage.type}; expected floats`);
  if (!entry) throw broken(`the numbers of tensor ${shown(name)} are not in it`);
  const numbers = numbersIn(shape, name);
  const width = FLOAT_BYTES[format];
  if (storage.numbers * width !== entry.size)
    throw broken(`tensor ${shown(name)}'s storage has ${entry.size} bytes for ${storage.numbers} numbers`);
  // A view that repeats its numbers (stride 0) could claim any size.
  if (numbers > storage.numbers) throw broken(`tensor ${shown(name)} claims ${numbers} numbers of a storage of ${storage.numbers}`);
  if (numbers === 0) return new Float32Array(0);
  const reach = shape.reduce((sum, size, axis) => sum + (size - 1) * (strides[axis] as number), 1);
  if (offset + reach > storage.numbers) throw broken(`tensor ${shown(name)} reaches past its storage`);
  const data = toFloat32(await entry.read(offset * width, reach * width), format);
  return isDense(shape, strides) ? data : gather(data, shape, strides);
}

/** Row-major, one number after the other; strides of axes of size 1 do not matter. */
function isDense(shape: number[], strides: number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis] as number;
  }
  return true;
}

/** A transposed or sliced view, laid out row by row. */
function gather(data: Float32Array, shape: number[], strides: number[]): Float32Array {
  const out = new Float32Array(shape.reduce((size, n) => size * n, 1));
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < out.length; to++) {
    out[to] = data[from] as number;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis] as number;
      if (++(index[axis] as number) < (shape[axis] as number)) break;
      from -= (shape[axis] as number) * (strides[axis] as number);
      index[axis] = 0;
    }
  }
  return out;
}

function broken(why: string): KenpinError {
  return new KenpinError("checkpoint-broken", `this is no PyTorch checkpoint that can be read: ${why}`);
}
