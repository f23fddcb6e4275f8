/**
 * From an answered frame to a sample: pick, take the evidence, keep its bytes. All of it after the verdict is committed, so
 * that learning never delays the line. Frames nothing could look at and teaching frames are no samples.
 * Odd frames may take half of a day's samples at most; the rest is for random draws, which evaluation rests on.
 */
import type { Inspection } from "@kenpin/inspector";
import { type AgentConfig, errorLine, type Sample, SAMPLE_VERSION, type SampleReason, type Verdict } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Frame } from "../frame.ts";
import type { Setup } from "../setup.ts";
import { evidenceOf, type EvidenceParts } from "./evidence.ts";
import type { EvidenceStore } from "./evidence-store.ts";
import type { SamplePicker } from "./picker.ts";

export type SampleDraft = Omit<Sample, "id" | "bootId" | "seq">;
export type Answered = {
  frame: Frame;
  verdict: Verdict;
  inspection: Inspection;
  setup: Setup;
  /** Whether its camera's drift offers it; asking takes the offer. */
  takeOffer: () => boolean;
  /** Draws the heat map, by a second look at the frame. */
  map: () => Promise<Uint8Array | null>;
};

const ODD_RATIO = 0.5;

export class Sampler {
  #config: Pick<AgentConfig, "site" | "agent" | "sampling">;
  #picker: SamplePicker;
  #store: EvidenceStore;
  #mayKeep: () => boolean;
  #log: Logger;

  constructor(options: {
    config: Pick<AgentConfig, "site" | "agent" | "sampling">;
    picker: SamplePicker;
    store: EvidenceStore;
    /** Whether the disk has room for pictures. */
    mayKeep: () => boolean;
    log: Logger;
  }) {
    this.#config = options.config;
    this.#picker = options.picker;
    this.#store = options.store;
    this.#mayKeep = options.mayKeep;
    this.#log = options.log;
  }

  /** The sample to commit and what belongs into its transaction, or null. A sample that cannot be made costs no verdict. */
  async consider(answered: Answered): Promise<{ draft: SampleDraft; within: (sample: Sample) => void } | null> {
    const { frame, inspection, setup } = answered;
    const { name, evidence } = frame.camera;
    if (evidence === "none" || !frame.bytes || !this.#mayKeep()) return null;
    const { thresholds, manifest } = setup;
    const reason = this.#picker.pick(name, inspection, { thresholds, scoring: manifest.scoring, takeOffer: answered.takeOffer });
    if (!reason || !this.#hasRoom(reason)) return null;
    try {
      const parts = await evidenceOf(evidence, { bytes: frame.bytes, inspection, map: answered.map });
      if (!parts) return null;
      const pictures = parts.map ? [parts.frame, parts.map] : [parts.frame];
      for (const picture of pictures) await this.#store.keep(picture);
      const within = (sample: Sample) => {
        for (const picture of pictures) this.#store.add(picture, sample);
        this.#store.count(today(), reason);
      };
      return { draft: this.#draft(answered, reason, parts), within };
    } catch (error) {
      this.#log.error({ camera: name, trigger: frame.triggerId, why: errorLine(error) }, "sample-not-taken");
      return null;
    }
  }

  #hasRoom(reason: SampleReason): boolean {
    const { perDay } = this.#config.sampling;
    const { drawn, odd } = this.#store.countOf(today());
    return drawn + odd < perDay && (reason === "random" || odd < perDay * ODD_RATIO);
  }

  #draft({ frame, verdict }: Answered, reason: SampleReason, { evidence, frame: shown, map }: EvidenceParts): SampleDraft {
    return {
      schemaVersion: SAMPLE_VERSION,
      verdictId: verdict.id,
      site: this.#config.site,
      agent: this.#config.agent,
      camera: frame.camera.name,
      capturedAt: verdict.capturedAt,
      reason,
      drawProbability: this.#config.sampling.randomRatio,
      evidence,
      frame: { sha256: shown.sha256, bytes: shown.bytes.length, type: shown.type },
      ...(map && { map: { sha256: map.sha256, bytes: map.bytes.length, type: "image/png" as const } }),
    };
  }
}

function today(): string {
  return new Date().toISOString().slice(0, 10);
}
