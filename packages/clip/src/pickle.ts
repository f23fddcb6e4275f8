/**
 * Reads the pickle inside a PyTorch checkpoint, as data only: a pickle is a program that may call anything, and this
 * machine calls nothing. Numbers, text, lists, tuples, dicts, and from the classes named below tensors' descriptions;
 * every other class or function is refused by its name. Opcodes: Python's Lib/pickletools.py, protocols 2 to 4.
 */
import { KenpinError } from "@kenpin/schema";
import { shown } from "./checkpoint.ts";

/** A storage as torch.save names it: ("storage", class, key, location, numbers). */
type StorageRef = { kind: "storage"; type: string; key: string; numbers: number };
export type TensorRef = { kind: "tensor"; storage: StorageRef; offset: number; shape: number[]; strides: number[] };
export type PickleValue = null | boolean | number | string | PickleValue[] | PickleDict | Global | StorageRef | TensorRef;
export type PickleDict = Map<PickleValue, PickleValue>;
type Global = { kind: "global"; name: string };

/** What a state dict is made of; storages are only named, their bytes lie in other entries of the zip. */
const TENSOR = ["torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"];
const DICT = "collections.OrderedDict";
const STORAGES = ["Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool"].map(
  (type) => `torch.${type}Storage`,
);
const KNOWN = new Set([...TENSOR, DICT, ...STORAGES]);

/** About 20 opcodes a tensor; BAAI's largest has 1,300 tensors. */
const OPCODE_LIMIT = 4_000_000;
const MEMO_LIMIT = 1_000_000;
const STACK_LIMIT = 100_000;
const TEXT_LIMIT_BYTES = 64 * 1024;

export function readPickle(bytes: Uint8Array): PickleValue {
  const machine = new Machine(bytes);
  for (let steps = 0; ; steps++) {
    if (steps > OPCODE_LIMIT) throw refused(`it has more than ${OPCODE_LIMIT} steps`);
    if (machine.step()) return machine.result();
  }
}

class Machine {
  #view: DataView;
  #bytes: Uint8Array;
  #at = 0;
  #stack: PickleValue[] = [];
  #marks: number[] = [];
  #memo = new Map<number, PickleValue>();

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Performs one opcode; true after STOP. */
  step(): boolean {
    const opcode = String.fromCharCode(this.#byte());
    const push = STEPS[opcode as keyof typeof STEPS] as ((machine: Machine) => void) | undefined;
    if (opcode === ".") return true;
    if (!push) throw refused(`it uses opcode 0x${opcode.charCodeAt(0).toString(16).padStart(2, "0")}, which no state dict needs`);
    push(this);
    return false;
  }

  result(): PickleValue {
    if (this.#stack.length !== 1 || this.#marks.length > 0) throw refused("it ends with its work undone");
    return this.#stack[0] as PickleValue;
  }

  push(value: PickleValue): void {
    if (this.#stack.length >= STACK_LIMIT) throw refused(`its stack grows past ${STACK_LIMIT}`);
    this.#stack.push(value);
  }

  pop(): PickleValue {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) throw refused("it takes from an empty stack");
    return this.#stack.pop() as PickleValue;
  }

  mark(): void {
    if (this.#marks.length >= STACK_LIMIT) throw refused(`its stack grows past ${STACK_LIMIT}`);
    this.#marks.push(this.#stack.length);
  }

  sinceMark(): PickleValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw refused("it closes a list that it never opened");
    return this.#stack.splice(mark);
  }

  put(index: number): void {
    if (this.#memo.size >= MEMO_LIMIT) throw refused(`it remembers more than ${MEMO_LIMIT} values`);
    const value = this.pop();
    this.#memo.set(index, value);
    this.#stack.push(value);
  }

  memoize(): void {
    this.put(this.#memo.size);
  }

  get(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw refused(`it recalls value ${index}, which it never kept`);
    this.push(value);
  }

  uint(bytes: 1 | 2 | 4): number {
    const at = this.#take(bytes);
    return bytes === 1 ? this.#view.getUint8(at) : bytes === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }

  int(): number {
    return this.#view.getInt32(this.#take(4), true);
  }

  float(): number {
    return this.#view.getFloat64(this.#take(8), false);
  }

  /** A little-endian two's complement number; offsets past 2 GB come this way. */
  long(length: number): number {
    if (length > 8) throw refused(`it holds a number of ${length} bytes`);
    const at = this.#take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[at + i] as number);
    const number = Number(BigInt.asIntN(Math.max(1, length * 8), value));
    if (!Number.isSafeInteger(number)) throw refused(`it holds the number ${value}`);
    return number;
  }

  text(length: number): string {
    if (length > TEXT_LIMIT_BYTES) throw refused(`it holds a text of ${length} bytes`);
    const at = this.#take(length);
    return new TextDecoder().decode(this.#bytes.subarray(at, at + length));
  }

  line(): string {
    const end = this.#bytes.indexOf(10, this.#at);
    if (end < 0) throw refused("it ends inside a name");
    const text = this.text(end - this.#at);
    this.#at = end + 1;
    return text;
  }

  skip(length: number): void {
    this.#take(length);
  }

  #byte(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw refused("it ends early; the file was cut short");
    this.#at += length;
    return at;
  }
}

const STEPS = {
  "\x80": (m: Machine) => m.skip(1), // PROTO
  "\x95": (m: Machine) => m.skip(8), // FRAME
  "}": (m: Machine) => m.push(new Map()),
  "]": (m: Machine) => m.push([]),
  ")": (m: Machine) => m.push([]),
  N: (m: Machine) => m.push(null),
  "\x88": (m: Machine) => m.push(true),
  "\x89": (m: Machine) => m.push(false),
  K: (m: Machine) => m.push(m.uint(1)),
  M: (m: Machine) => m.push(m.uint(2)),
  J: (m: Machine) => m.push(m.int()),
  G: (m: Machine) => m.push(m.float()),
  "\x8a": (m: Machine) => m.push(m.long(m.uint(1))), // LONG1
  X: (m: Machine) => m.push(m.text(m.uint(4))), // BINUNICODE
  "\x8c": (m: Machine) => m.push(m.text(m.uint(1))), // SHORT_BINUNICODE
  "(": (m: Machine) => m.mark(),
  t: (m: Machine) => m.push(m.sinceMark()),
  "\x85": (m: Machine) => m.push(last(m, 1)),
  "\x86": (m: Machine) => m.push(last(m, 2)),
  "\x87": (m: Machine) => m.push(last(m, 3)),
  l: (m: Machine) => m.push(m.sinceMark()),
  a: (m: Machine) => append(m, [m.pop()]),
  e: (m: Machine) => append(m, m.sinceMark()),
  s: (m: Machine) => setItems(m, last(m, 2)),
  u: (m: Machine) => setItems(m, m.sinceMark()),
  q: (m: Machine) => m.put(m.uint(1)),
  r: (m: Machine) => m.put(m.uint(4)),
  "\x94": (m: Machine) => m.memoize(),
  h: (m: Machine) => m.get(m.uint(1)),
  j: (m: Machine) => m.get(m.uint(4)),
  c: (m: Machine) => m.push(global(m.line(), m.line())),
  "\x93": (m: Machine) => stackGlobal(m),
  Q: (m: Machine) => m.push(storage(m.pop())), // BINPERSID
  R: (m: Machine) => reduce(m),
  b: (m: Machine) => build(m),
};

function last(machine: Machine, count: number): PickleValue[] {
  return Array.from({ length: count }, () => machine.pop()).reverse();
}

function append(machine: Machine, values: PickleValue[]): void {
  const list = machine.pop();
  if (!Array.isArray(list)) throw refused("it appends to something other than a list");
  for (const value of values) list.push(value);
  machine.push(list);
}

function setItems(machine: Machine, values: PickleValue[]): void {
  const dict = machine.pop();
  if (!(dict instanceof Map) || values.length % 2 !== 0) throw refused("it sets items of something other than a dict");
  for (let i = 0; i < values.length; i += 2) dict.set(values[i] as PickleValue, values[i + 1] as PickleValue);
  machine.push(dict);
}

function stackGlobal(machine: Machine): void {
  const [module, name] = last(machine, 2);
  machine.push(global(String(module), String(name)));
}

function global(module: string, name: string): Global {
  const full = `${module}.${name}`;
  if (!KNOWN.has(full)) {
    throw new KenpinError(
      "checkpoint-unsafe",
      `the checkpoint asks for ${shown(full)}; only tensors are read, so it was refused (save it as a plain state dict or as safetensors)`,
    );
  }
  return { kind: "global", name: full };
}

function storage(value: PickleValue): StorageRef {
  if (!Array.isArray(value) || value.length !== 5) throw refused("it names a storage in an unknown way");
  const [kind, type, key, , numbers] = value;
  if (kind !== "storage" || !isGlobal(type) || !STORAGES.includes(type.name) || typeof key !== "string" || !isCount(numbers))
    throw refused("it names a storage in an unknown way");
  return { kind: "storage", type: type.name, key, numbers };
}

function reduce(machine: Machine): void {
  const [call, given] = last(machine, 2);
  if (!isGlobal(call) || !Array.isArray(given)) throw refused("it calls something that is no function");
  if (call.name === DICT && given.length === 0) machine.push(new Map());
  else if (call.name === TENSOR[0]) machine.push(tensor(given));
  else if (call.name === TENSOR[1] && isTensor(given[0])) machine.push(given[0] as TensorRef);
  else throw refused(`it calls ${call.name} with arguments that no state dict has`);
}

function tensor([storageRef, offset, shape, strides]: PickleValue[]): TensorRef {
  const whole = (value: PickleValue | undefined): value is number[] => Array.isArray(value) && value.length <= 8 && value.every(isCount);
  const known = typeof storageRef === "object" && storageRef !== null && "kind" in storageRef && storageRef.kind === "storage";
  if (!known || !isCount(offset) || !whole(shape) || !whole(strides) || shape.length !== strides.length)
    throw refused("it describes a tensor in an unknown way");
  return { kind: "tensor", storage: storageRef, offset, shape, strides };
}

/** An OrderedDict's attributes (PyTorch's _metadata of versions) are of no use here. */
function build(machine: Machine): void {
  const [target, state] = last(machine, 2);
  if (!(target instanceof Map) || !(state instanceof Map)) throw refused("it sets attributes of something other than a dict");
  machine.push(target);
}

export function isTensor(value: PickleValue | undefined): value is TensorRef {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "tensor";
}

function isGlobal(value: PickleValue | undefined): value is Global {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "global";
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function refused(why: string): KenpinError {
  return new KenpinError("checkpoint-broken", `the checkpoint's table of tensors cannot be read: ${why}; fetch the file again`);
}
