/**
 * What was taught, as bytes: an agent that starts again need not teach again, and one that is given another reference need
 * not look at the others anew.
 *
 *   "KNPBANK1" | u32 big-endian length of the header | header (JSON) | the bank, the head's weights, and each exemplar's
 *   statistics and tokens, little-endian, one after the other | sha256 of all that
 *
 * The header names the bundle and words it belongs to (`key`); a file of another one is refused, as is one that is cut or changed.
 */
import { createHash } from "node:crypto";
import { errorLine, KenpinError, parseAtDoor, Probability, Sha256 } from "@kenpin/schema";
import { z } from "zod";
import { EXEMPLAR_LIMIT, type Knowledge, type Shown } from "./teaching.ts";

type Taught = { knowledge: Knowledge; shown: Map<string, Shown> };

const MAGIC = "KNPBANK1";
const LENGTH_AT = MAGIC.length;
const HEADER_AT = LENGTH_AT + 4;
const SEAL_BYTES = 32;
/** A token of 16 layers of the widest tower, and the bank's rows. */
const DIM_LIMIT = 65_536;

const Moments = z.strictObject({ mean: z.number(), deviation: z.number() });
const Judged = z.strictObject({ crossEntropy: z.number(), auroc: z.number() });
const Header = z.strictObject({
  key: Sha256,
  tokenDim: z.int().min(1).max(DIM_LIMIT),
  bankNumbers: z.int().min(0),
  statisticsNumbers: z.int().min(0),
  calm: z.strictObject({ mean: z.number(), limit: z.number() }),
  references: z.strictObject({ text: Moments, patchTop: Moments, bankMean: Moments, bankTop: Moments, away: Moments }),
  head: z
    .strictObject({ intercept: z.number(), share: Probability, scale: z.number(), bias: z.number(), bankWeight: Probability })
    .nullable(),
  taught: z.strictObject({
    references: z.int().min(0),
    bad: z.int().min(0),
    scores: z.array(Probability).nullable(),
    head: z.strictObject({ penalty: z.number(), with: Judged, without: Judged, share: Probability, bankWeight: Probability }).nullable(),
  }),
  exemplars: z
    .array(
      z.strictObject({
        digest: Sha256,
        label: z.enum(["good", "bad"]),
        text: z.number(),
        patchTop: z.number(),
        tokenNumbers: z.int().min(0),
      }),
    )
    .max(EXEMPLAR_LIMIT),
});
type Header = z.infer<typeof Header>;

export function encodeBank({ knowledge, shown, key }: Taught & { key: string }): Uint8Array {
  const { lessons, tokenDim, bank, calm, references, head, taught } = knowledge;
  const known = lessons.map(({ digest }) => shown.get(digest) as Shown);
  const header: Header = {
    key,
    tokenDim,
    bankNumbers: bank.length,
    statisticsNumbers: known[0]?.statistics.length ?? 0,
    calm,
    references,
    head: head && { intercept: head.intercept, share: head.share, scale: head.scale, bias: head.bias, bankWeight: head.bankWeight },
    taught,
    exemplars: lessons.map(({ digest, label }, i) => {
      const { text, patchTop, tokens } = known[i] as Shown;
      return { digest, label, text, patchTop, tokenNumbers: tokens.length };
    }),
  };
  const json = Buffer.from(JSON.stringify(header));
  const start = Buffer.alloc(HEADER_AT);
  start.write(MAGIC);
  start.writeUInt32BE(json.length, LENGTH_AT);
  const numbers = [bank, ...(head ? [head.weights] : []), ...known.flatMap(({ statistics, tokens }) => [statistics, tokens])];
  const body = Buffer.concat([start, json, ...numbers.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength))]);
  return Buffer.concat([body, createHash("sha256").update(body).digest()]);
}

/** Throws `bank-broken` or `bank-foreign`. */
export function decodeBank(file: Uint8Array, key: string): Taught {
  const body = file.subarray(0, Math.max(0, file.length - SEAL_BYTES));
  const sealed = createHash("sha256").update(body).digest().equals(file.subarray(body.length));
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
  if (!sealed || bytes.toString("latin1", 0, LENGTH_AT) !== MAGIC) throw broken("it is cut short, changed, or none at all");
  const headerEnd = HEADER_AT + bytes.readUInt32BE(LENGTH_AT);
  const header = readHeader(bytes.toString("utf8", HEADER_AT, headerEnd));
  if (header.key !== key) {
    throw new KenpinError("bank-foreign", "the memory bank on disk was taught to another bundle or by other words; it is taught anew");
  }
  let at = headerEnd;
  /** A copy of its own, because a part may start at any byte. */
  const take = (size: number) => {
    at += size;
    if (at > body.length) throw broken("its numbers are fewer than it says");
    return new Uint8Array(body.subarray(at - size, at)).buffer;
  };
  const { tokenDim, calm, references, exemplars, taught } = header;
  const bank = new Float32Array(take(header.bankNumbers * 4));
  const head = header.head && { ...header.head, weights: new Float64Array(take(header.statisticsNumbers * 8)) };
  const shown = new Map<string, Shown>();
  for (const { digest, text, patchTop, tokenNumbers } of exemplars) {
    const statistics = new Float32Array(take(header.statisticsNumbers * 4));
    shown.set(digest, { text, patchTop, statistics, tokens: new Int8Array(take(tokenNumbers)) });
  }
  const lessons = exemplars.map(({ digest, label }) => ({ digest, label }));
  return { knowledge: { lessons, tokenDim, bank, calm, references, head, taught }, shown };
}

function readHeader(json: string): Header {
  try {
    return parseAtDoor(Header, JSON.parse(json), "the memory bank's header");
  } catch (error) {
    throw broken(errorLine(error));
  }
}

function broken(why: string): KenpinError {
  return new KenpinError("bank-broken", `the memory bank on disk cannot be used (${why}); it is taught anew`);
}
