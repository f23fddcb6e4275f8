/**
 * Says when a camera's picture is not to be trusted: black, over-exposed, frozen, blurred, or of something else than what was
 * taught or than this camera has shown before. Such a frame is unknown, never a pass.
 * In: each frame's digest and what the inspector saw of it (brightness in [0, 255]). Out: the reason, or null.
 * What is usual is learnt from the frames that were trusted, anew when the agent starts or the camera is resumed; those that were
 * not do not enter it, else a lens that slipped would soon count as sharp.
 */
import type { FrameStats, Inspection } from "@kenpin/inspector";
import type { UnknownReason } from "@kenpin/schema";
import { quantile } from "@kenpin/stats";
import type { Frame } from "../frame.ts";

type Seen = Pick<Inspection, "stats" | "strangeness" | "width" | "height">;
type Trait = { of: (stats: FrameStats) => number; leastSpread: number };

/** Darker and flatter than any lit part; sensor noise alone stays below. */
const BLACK_MEAN = 10;
const BLACK_CONTRAST = 6;
/** Of the usual brightness: the light is out. A part that was all crystal of one dark kind still had a quarter. */
const BLACK_RATIO = 0.2;
/** Brighter and flatter than any part whose surface can still be seen. */
const OVEREXPOSED_MEAN = 245;
const OVEREXPOSED_CONTRAST = 10;
/** Share of pixels at the end of the scale, beyond the usual share. */
const OVEREXPOSED_MORE = 0.3;
/** The same bytes three times running: a sensor's noise never repeats. */
const FROZEN_TIMES = 3;
/** `strangeness` of a frame in which not even the calmest patches are known. */
const STRANGE = 1;
/** Frames seen before anything counts as usual, and how many are remembered. */
const USUAL_FIRST = 20;
const USUAL_WINDOW = 100;
/** A defocused picture loses nearly all of its Laplacian, and more of it than of its contrast. */
const BLURRED_RATIO = 0.25;
/**
 * Deviations from the usual that another picture has and defects do not, and the least that counts as one: a third of the contrast,
 * five times the sharpness, 30 levels of colour. Brightness says little: a whole part of another crystal had a third of it.
 */
const FAR = 6;
const TRAITS: readonly Trait[] = [
  { of: ({ contrast }) => Math.log(Math.max(contrast, 0.5)), leastSpread: 0.2 },
  { of: ({ sharpness }) => Math.log(Math.max(sharpness, 0.5)), leastSpread: 0.25 },
  { of: ({ colour }) => colour.red, leastSpread: 5 },
  { of: ({ colour }) => colour.blue, leastSpread: 5 },
];
/** Median absolute deviation → standard deviation, for a normal distribution. */
const MAD_SCALE = 1.4826;

export class CameraWatch {
  #last = "";
  #times = 0;
  #delivery = "";
  #usual: Seen[] = [];

  judge(frame: Pick<Frame, "sha256" | "triggerId" | "modifiedNs">, seen: Seen | null): UnknownReason | null {
    this.#count(frame);
    const doubt = (seen && exposureDoubt(seen.stats)) ?? (this.#times >= FROZEN_TIMES ? "camera-frozen" : null);
    if (doubt || !seen) return doubt;
    const unusual = this.#usual.length >= USUAL_FIRST ? unlike(seen, this.#usual) : null;
    if (unusual) return unusual;
    if ((seen.strangeness ?? 0) >= STRANGE) return "out-of-domain";
    this.#usual = [...this.#usual, seen].slice(-USUAL_WINDOW);
    return null;
  }

  /** What is shown from now on is what should be. */
  forget(): void {
    this.#usual = [];
    this.#times = 0;
    this.#last = "";
  }

  /** A frame that is tried again, because its verdict could not be committed, is no second one. */
  #count({ sha256, triggerId, modifiedNs }: Pick<Frame, "sha256" | "triggerId" | "modifiedNs">): void {
    const delivery = `${triggerId} ${modifiedNs}`;
    if (sha256 !== this.#last) this.#times = 1;
    else if (delivery !== this.#delivery) this.#times++;
    this.#last = sha256;
    this.#delivery = delivery;
  }
}

/** Whatever the camera has shown before. */
function exposureDoubt({ mean, contrast }: FrameStats): UnknownReason | null {
  if (mean < BLACK_MEAN && contrast < BLACK_CONTRAST) return "camera-black";
  if (mean > OVEREXPOSED_MEAN && contrast < OVEREXPOSED_CONTRAST) return "camera-overexposed";
  return null;
}

/** Against what the camera has shown before. */
function unlike({ stats, width, height }: Seen, usual: readonly Seen[]): UnknownReason | null {
  const median = (of: (stats: FrameStats) => number) => medianOf(usual.map((one) => of(one.stats)));
  if (stats.mean < BLACK_RATIO * median(({ mean }) => mean)) return "camera-black";
  if (stats.clipped > median(({ clipped }) => clipped) + OVEREXPOSED_MORE) return "camera-overexposed";
  const sharpnessRatio =
    stats.sharpness /
    Math.max(
      median(({ sharpness }) => sharpness),
      1e-6,
    );
  const contrastRatio =
    stats.contrast /
    Math.max(
      median(({ contrast }) => contrast),
      1e-6,
    );
  if (sharpnessRatio < BLURRED_RATIO && sharpnessRatio < contrastRatio) return "camera-blurred";
  const sizes = new Set(usual.map((one) => `${one.width} × ${one.height}`));
  const isOtherSize = sizes.size === 1 && !sizes.has(`${width} × ${height}`);
  const isFar = ({ of, leastSpread }: Trait) =>
    isOutside(
      of(stats),
      usual.map((one) => of(one.stats)),
      leastSpread,
    );
  return isOtherSize || TRAITS.some(isFar) ? "out-of-domain" : null;
}

function isOutside(value: number, usual: readonly number[], leastSpread: number): boolean {
  const middle = medianOf(usual);
  const spread = MAD_SCALE * medianOf(usual.map((one) => Math.abs(one - middle)));
  return Math.abs(value - middle) > FAR * Math.max(spread, leastSpread);
}

function medianOf(values: readonly number[]): number {
  return quantile(values, 0.5);
}
