/** A camera on a line for tests of drift: rows of figures as frames give them, with a change where one is asked for. */
import { createRandom, type Random } from "@kenpin/stats";
import { driftRow, type Row, TRAITS } from "../../edge-agent/src/watch/drift-figures.ts";
import {
  BLOCK_FRAMES,
  type DriftReading,
  type DriftReference,
  DriftWatch,
  EVERY_MS,
  PAUSE_MS,
} from "../../edge-agent/src/watch/drift-watch.ts";

/** A camera on a line whose parts vary as parts do: a few with defects, a light that breathes. */
export class Line {
  readonly watch: DriftWatch;
  settings = "one set of settings";
  isTaught = true;
  kept: DriftReference | null = null;
  #random: Random;
  #at = 0;
  #breath = 0;

  constructor(seed: number, kept?: ConstructorParameters<typeof DriftWatch>[0]["kept"]) {
    this.#random = createRandom(seed);
    const write = (reference: DriftReference | null) => {
      this.kept = reference;
    };
    const own = { read: () => this.kept, write };
    this.watch = new DriftWatch({ kept: kept ?? own, random: createRandom(seed + 1), now: () => new Date(this.#at) });
  }

  /** Frames that count; the others, between blocks, are left out. */
  run(frames: number, change: Partial<Record<string, number>> = {}): DriftReading[] {
    return Array.from({ length: frames }, (_, i) => this.frame(change, i % BLOCK_FRAMES === 0 ? PAUSE_MS : EVERY_MS)).filter(
      (reading) => reading !== null,
    );
  }

  frame(change: Partial<Record<string, number>>, ms: number): DriftReading | null {
    this.#at += ms;
    for (let passed = 0; passed < ms; passed += EVERY_MS) this.#breath = 0.5 * this.#breath + this.#random.normal();
    return this.watch.take(this.#row(change), { at: this.#at, decidedBy: this.settings });
  }

  #row(change: Partial<Record<string, number>>): Row {
    const random = this.#random;
    const bad = random.next() < 0.05 ? 4 : 0;
    const logit = -2 + bad + 0.8 * random.normal();
    const row = driftRow({
      score: 1 / (1 + Math.exp(-logit)),
      textLogit: logit + 0.3 * random.normal(),
      referenceZ: this.isTaught ? bad + random.normal() : null,
      strangeness: this.isTaught ? 0.1 + 0.1 * random.normal() : null,
      stats: {
        mean: 120 + 2 * this.#breath + random.normal(),
        contrast: 40 * Math.exp(0.05 * random.normal()),
        sharpness: 20 * Math.exp(0.08 * random.normal()),
        clipped: 0.01,
        colour: { red: 3 + random.normal(), blue: -4 + random.normal() },
      },
    });
    return row.map((value, i) => (value === null ? null : value + (change[(TRAITS[i] as (typeof TRAITS)[number]).name] ?? 0)));
  }
}
