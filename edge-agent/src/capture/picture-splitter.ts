/**
 * Cuts a child process's output into whole pictures. In: chunks of a pipe that carries JPEGs or PNGs one after another. Out: each
 * picture's bytes. The files' own marks say where one ends (JPEG: ITU-T T.81 B.1.1, marker segments with their lengths, then scans up
 * to EOI; PNG: W3C PNG 5.3, chunks up to IEND), so a small picture within another's metadata ends nothing.
 * Anything else on the pipe, and a picture over the limit, is an error: the child is then started anew.
 */
import { KenpinError } from "@kenpin/schema";
import { FRAME_LIMIT_BYTES } from "./frame-file.ts";

type Place = { at: number; ends: boolean };

const PNG_MARK = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const [SOI, EOI, SOS, RST_FIRST, TEM] = [0xd8, 0xd9, 0xda, 0xd0, 0x01];

export class PictureSplitter {
  #limit: number;
  #chunks: Buffer[] = [];
  #size = 0;
  #buffer = Buffer.alloc(0);
  /** Where reading goes on within the buffer, and what stands there. */
  #at = 0;
  #isScan = false;
  /** Bytes the buffer must hold before looking again is worth it. */
  #needs = 0;

  constructor(limit = FRAME_LIMIT_BYTES) {
    this.#limit = limit;
  }

  /** The pictures that this chunk completes. */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needs) return [];
    this.#buffer = Buffer.concat(this.#chunks);
    const pictures: Buffer[] = [];
    for (let end = this.#end(); end > 0; end = this.#end()) {
      this.#limited(end);
      pictures.push(this.#buffer.subarray(0, end));
      this.#buffer = this.#buffer.subarray(end);
      this.#restart();
    }
    this.#chunks = [this.#buffer];
    this.#size = this.#buffer.length;
    this.#limited(this.#size);
    return pictures;
  }

  #limited(bytes: number): void {
    if (bytes > this.#limit)
      throw new KenpinError("frame-too-large", `the camera's program gave a picture of more than ${this.#limit} bytes`);
  }

  #restart(): void {
    this.#at = 0;
    this.#isScan = false;
    this.#needs = 0;
  }

  /** Where the picture at the buffer's start ends, or 0 while it is not whole. */
  #end(): number {
    const { length } = this.#buffer;
    if (length < PNG_MARK.length) return 0;
    if (this.#buffer[0] === 0xff && this.#buffer[1] === SOI) return this.#walk(2, () => this.#jpegStep());
    if (this.#buffer.subarray(0, PNG_MARK.length).equals(PNG_MARK)) return this.#walk(PNG_MARK.length, () => this.#pngStep());
    const head = this.#buffer.subarray(0, 8).toString("hex");
    throw new KenpinError(
      "frames-expected",
      `the camera's program gave neither JPEG nor PNG (it begins with ${head}); end it with jpegenc or pngenc`,
    );
  }

  #walk(start: number, step: () => Place | null): number {
    this.#at = Math.max(this.#at, start);
    for (;;) {
      const place = step();
      if (!place) return 0;
      this.#at = place.at;
      if (place.ends) return place.at;
    }
  }

  #jpegStep(): Place | null {
    return this.#isScan ? this.#jpegScan() : this.#jpegSegment();
  }

  #jpegSegment(): Place | null {
    const [buffer, at] = [this.#buffer, this.#at];
    if (buffer.length < at + 2) return null;
    const marker = buffer[at + 1] as number;
    if (buffer[at] !== 0xff)
      throw new KenpinError("frames-expected", "the camera's program gave a JPEG whose segments do not follow each other");
    if (marker === 0xff) return { at: at + 1, ends: false }; // fill byte
    if (marker === EOI) return { at: at + 2, ends: true };
    if (marker === TEM || (marker >= RST_FIRST && marker <= SOI)) return { at: at + 2, ends: false };
    if (buffer.length < at + 4) return null;
    if (marker === SOS) this.#isScan = true;
    return this.#reach(at + 2 + Math.max(2, buffer.readUInt16BE(at + 2)));
  }

  /** Entropy-coded data up to the next marker; 0xff00 is data, and RSTn stands within. */
  #jpegScan(): Place | null {
    const next = this.#buffer.indexOf(0xff, this.#at);
    if (next < 0 || next + 1 >= this.#buffer.length) {
      this.#at = next < 0 ? this.#buffer.length : next;
      return null;
    }
    const marker = this.#buffer[next + 1] as number;
    if (marker === 0 || (marker >= RST_FIRST && marker < SOI)) return { at: next + 2, ends: false };
    this.#isScan = marker === 0xff; // fill bytes before a marker
    return { at: this.#isScan ? next + 1 : next, ends: false };
  }

  #pngStep(): Place | null {
    const [buffer, at] = [this.#buffer, this.#at];
    if (buffer.length < at + 8) return null;
    const ends = buffer.toString("latin1", at + 4, at + 8) === "IEND";
    const next = this.#reach(at + 12 + buffer.readUInt32BE(at));
    return next && { ...next, ends };
  }

  /** Skips to `at` once the buffer holds it. */
  #reach(at: number): Place | null {
    this.#limited(at);
    if (this.#buffer.length >= at) return { at, ends: false };
    this.#needs = at;
    return null;
  }
}
