/**
 * What an agent and its inspector say to each other over the worker's stdin and stdout, in any language.
 *
 * A frame is: u32 big-endian length of the header, u32 length of the body, the header (JSON, UTF-8), the body (bytes).
 * Requests carry `id` and `op`; every answer carries the same `id` and either `ok: true` or `error: {code, message}`.
 *
 *   open    {bundleDir, threads}                → {provider, precision}
 *   show    {} body = image bytes               → {digest}: looks at an exemplar and keeps what a teaching needs of it
 *   teach   {lessons: [{digest, label}]}        → Taught: by exemplars that were shown, in place of what was taught before
 *   save-bank {}                                → body = what was taught, see bank-file.ts
 *   load-bank {} body = such a file             → {lessons, taught}
 *   inspect {map: boolean} body = image bytes   → Inspection, body = heat map PNG or empty
 *   embed-text   {textModel, inputIds}                                → rows of text_embeds
 *   embed-images {visionModel, side} body = pixel_values as float32   → {dim}, body = image_embeds as float32
 *   run          {model, threads, inputs: [{name, type, dims}], outputs} body = the inputs' numbers, one after the other
 *                → {outputs: [{name, length}], ms}, body = the outputs as float32
 */
import { KenpinError } from "@kenpin/schema";

export type Header = { id: number; [key: string]: unknown };
export type Message = { header: Header; body: Uint8Array };

/** A header is small; a body is at most a frame, a model's numbers or a memory bank. Past that something is broken or hostile. */
const HEADER_LIMIT_BYTES = 1024 * 1024;
const BODY_LIMIT_BYTES = 512 * 1024 * 1024;

export function encodeMessage({ header, body }: Message): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32BE(json.length, 0);
  lengths.writeUInt32BE(body.length, 4);
  return Buffer.concat([lengths, json, body]);
}

/** Takes bytes as they come and calls back once a whole message is there; throws on a length past the limits. */
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
      if (header > HEADER_LIMIT_BYTES || body > BODY_LIMIT_BYTES) {
        throw new KenpinError("inspector-garbage", `the inspector's pipe carries a message of ${header} + ${body} bytes; it is restarted`);
      }
      const whole = 8 + header + body;
      if (have < whole) return;
      const all = Buffer.concat(pending);
      pending = [all.subarray(whole)];
      have = all.length - whole;
      onMessage({ header: JSON.parse(all.toString("utf8", 8, 8 + header)) as Header, body: all.subarray(8 + header, whole) });
    }
  };
}
