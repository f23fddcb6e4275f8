/**
 * Says when a camera's picture is not to be trusted: black, over-exposed, frozen, blurred, or of something else than what was
 * taught. Such a frame is unknown, never a pass.
 * In: each frame's digest and what the inspector saw of it (brightness in [0, 255]). Out: the reason, or null.
 * Blurred frames do not enter the running median, else a lens that slipped would soon count as sharp; what counts as
 * sharp is learnt anew when the agent starts or the camera is resumed.
 */
import type { Inspection } from "@kenpin/inspector";
import type { UnknownReason } from "@kenpin/schema";
import { quantile } from "@kenpin/stats";
import type { Frame } from "../frame.ts";

/** Darker and flatter than any lit part; sensor noise alone stays below. */
const BLACK_MEAN = 10;
const BLACK_CONTRAST = 6;
/** Brighter and flatter than any part whose surface can still be seen. */
const OVEREXPOSED_MEAN = 245;
const OVEREXPOSED_CONTRAST = 10;
/**
 * `strangeness` from which a frame shows another product. With 20 references of a cloth, a grain map or a printed bead, defects
 * over the whole frame reached 1.3, pictures of the other two products 1.5 to 3.7 (the calmest beads beside grain maps less).
 */
const FOREIGN = 1.45;
/** The same bytes three times running: a sensor's noise never repeats. */
const FROZEN_TIMES = 3;
/** Frames seen before sharpness is judged, and how many are remembered. */
const SHARP_FIRST = 20;
const SHARP_WINDOW = 100;
/** A defocused picture loses nearly all of its Laplacian; other parts of a line differ by far less. */
const BLURRED_RATIO = 0.25;

export class CameraWatch {
  #last = "";
  #times = 0;
  #delivery = "";
  #sharpness: number[] = [];

  judge(
    frame: Pick<Frame, "sha256" | "triggerId" | "modifiedNs">,
    seen: Pick<Inspection, "stats" | "strangeness"> | null,
  ): UnknownReason | null {
    this.#count(frame);
    const stats = seen?.stats;
    if (stats && stats.mean < BLACK_MEAN && stats.contrast < BLACK_CONTRAST) return "camera-black";
    if (stats && stats.mean > OVEREXPOSED_MEAN && stats.contrast < OVEREXPOSED_CONTRAST) return "camera-overexposed";
    if (this.#times >= FROZEN_TIMES) return "camera-frozen";
    // Another product teaches nothing of how sharp this one is.
    if ((seen?.strangeness ?? 0) >= FOREIGN) return "out-of-domain";
    return stats && this.#isBlurred(stats.sharpness) ? "camera-blurred" : null;
  }

  forget(): void {
    this.#sharpness = [];
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

  #isBlurred(sharpness: number): boolean {
    if (this.#sharpness.length >= SHARP_FIRST && sharpness < BLURRED_RATIO * quantile(this.#sharpness, 0.5)) return true;
    this.#sharpness = [...this.#sharpness, sharpness].slice(-SHARP_WINDOW);
    return false;
  }
}
