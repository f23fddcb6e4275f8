/**
 * Opens damaged checkpoints, one after the other, and says what became of them: `node mutated-checkpoints.ts COUNT SEED`.
 * Half of them safetensors, half PyTorch zips; damage lies in headers, directories and the pickle. Every one must open or
 * be refused with one line by a KenpinError. Runs as a process of its own, so that a crash, a hang or its memory is seen
 * from outside. Prints one line of JSON; exit code 1 at the first other outcome.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bytesSource, encodeSafetensors, openPytorch, openSafetensors } from "@kenpin/clip";
import { KenpinError } from "@kenpin/schema";
import { createRandom } from "@kenpin/stats";
import { openStoredZip } from "../../packages/clip/src/zip-archive.ts";
import { storedZip } from "./stored-zip.ts";

const [count, seed] = process.argv.slice(2).map(Number) as [number, number];
const random = createRandom(seed);
const below = (limit: number) => random.int(limit);
const INTERESTING = [
  0, 1, 0x7f, 0x80, 0xff, 0x28, 0x2e, 0x52, 0x62, 0x63, 0x64, 0x68, 0x6a, 0x71, 0x72, 0x74, 0x75, 0x7d, 0x8a, 0x93, 0x94,
];
const WORDS = ["9007199254740993", "-1", "1e400", "null", "[]", "{}", '"F16"', "__proto__", "4294967295", "0.5", '"', "}", "\\u0000"];

const tensors = new Map(
  Array.from({ length: 12 }, (_, i) => [
    `visual.trunk.blocks.${i}.norm1.weight`,
    { shape: [i + 1, 3], data: new Float32Array(3 * (i + 1)) },
  ]),
);
const safetensors = encodeSafetensors(tensors, { format: "pt" });
const headerBytes = Number(new DataView(safetensors.buffer).getBigUint64(0, true)) + 8;
const pytorch = new Uint8Array(readFileSync(join(import.meta.dirname, "../fixtures/clip/tensors.pt")));
const entries = new Map<string, Uint8Array>();
for (const [name, entry] of await openStoredZip(bytesSource(pytorch))) entries.set(name, await entry.read());
const zip64 = storedZip(entries, { zip64: true });
const PICKLE_BYTES = [...entries].find(([name]) => name.endsWith("data.pkl"))?.[1].length as number;

const outcomes: Record<string, number> = {};
for (let i = 0; i < count; i++) {
  const isZip = i % 2 === 1;
  const bytes = isZip ? mutateZip(below(3) === 0 ? zip64 : pytorch) : mutate(safetensors, [0, headerBytes]);
  try {
    const checkpoint = await (isZip ? openPytorch : openSafetensors)(bytesSource(bytes));
    for (const name of checkpoint.names) await checkpoint.tensor(name);
    outcomes["opened"] = (outcomes["opened"] ?? 0) + 1;
  } catch (error) {
    if (!(error instanceof KenpinError) || error.message.includes("\n") || error.message.length > 1000) {
      process.stderr.write(`mutation ${i} of seed ${seed}: ${(error as Error).stack}\n`);
      process.exit(1);
    }
    outcomes[error.code] = (outcomes[error.code] ?? 0) + 1;
  }
}
process.stdout.write(`${JSON.stringify({ count, seed, outcomes, peakMb: Math.round(process.resourceUsage().maxRSS / 1024) })}\n`);

function mutateZip(zip: Uint8Array): Uint8Array {
  const directoryAt = Buffer.from(zip).indexOf(Buffer.from("PK\x01\x02"));
  const pickleAt = Buffer.from(zip).indexOf(Buffer.from([0x80, 2]));
  return mutate(zip, below(2) ? [pickleAt, PICKLE_BYTES] : [directoryAt, zip.length - directoryAt]);
}

/** One to four damages within `[from, length]`; half of the time only such as keep the length, which reach deeper. */
function mutate(original: Uint8Array, [from, length]: [number, number]): Uint8Array {
  let bytes: Uint8Array = original.slice();
  const inPlace = below(2) === 0;
  for (let n = 1 + below(inPlace ? 2 : 4); n > 0; n--) {
    const at = from + below(Math.min(length, Math.max(1, bytes.length - from)));
    const kind = below(inPlace ? 3 : 8);
    if (kind === 0) bytes[at] = below(256);
    else if (kind === 1) bytes[at] = (bytes[at] as number) ^ (1 << below(8));
    else if (kind === 2) bytes[at] = INTERESTING[below(INTERESTING.length)] as number;
    else if (kind === 3) bytes = bytes.slice(0, at);
    else if (kind === 4) bytes = joined(bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + below(16))));
    else if (kind === 5) bytes = joined(bytes.subarray(0, at), bytes.subarray(from, from + below(64)), bytes.subarray(at));
    else if (kind === 6)
      bytes = joined(bytes.subarray(0, at), new TextEncoder().encode(WORDS[below(WORDS.length)] as string), bytes.subarray(at));
    else for (let j = at; j < Math.min(bytes.length, at + 8); j++) bytes[j] = 0xff;
  }
  return bytes;
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
