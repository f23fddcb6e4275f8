/**
 * Joins pictures that programs ask about to the running agent. In: a picture, perhaps with words of its own. Out: its verdict.
 * Without words it goes the way of the line's frames. With words it goes to an inspector beside the running one, which is proven and
 * taught like it and kept for the next picture with the same words; what that one says decides nothing and is not recorded.
 */
import { createHash, randomUUID } from "node:crypto";
import { type AgentConfig, type AskedPictures, Camera, type WordsRequest } from "@kenpin/schema";
import type { Hono } from "hono";
import { draftVerdict } from "./decide/verdict-draft.ts";
import type { Frame } from "./frame.ts";
import type { Candidate } from "./inspect/supervisor.ts";
import { type Asked, inspectRoutes } from "./operate/inspect-routes.ts";
import { canEmbed, embedded, sheetOf } from "./operate/wizard/words.ts";
import { answerAsked, type Stages } from "./pipeline.ts";
import { uuidV7 } from "./record/uuid-v7.ts";
import { settingsDigest } from "./update/settings-digest.ts";
import { wordsFolder } from "./words-folder.ts";

/** An inspector that nobody asks holds memory for nothing. */
const IDLE_MS = 10 * 60_000;

type AskedInspections = { routes: Hono[]; close: () => Promise<void> };

/** None where the line door does not inspect. */
export function askedInspections(config: AgentConfig, stages: Stages): AskedInspections {
  const asked = config.lineDoor === false ? undefined : config.lineDoor.inspect;
  if (!asked) return { routes: [], close: async () => undefined };
  const { supervisor } = stages;
  const tryOuts = new TryOuts(stages, config);
  const routes = inspectRoutes({
    waiting: asked.waiting,
    state: () => ({
      site: config.site,
      line: config.line,
      agent: config.agent,
      camera: asked.camera,
      inspecting: supervisor.isRunning,
      wordsCanChange: canEmbed(supervisor.setup),
    }),
    answer: (picture) => {
      const frame = frameOf(asked, picture);
      return picture.words ? tryOuts.answer(frame, picture.words, picture) : answerAsked(stages, frame, picture.map);
    },
  });
  return { routes: [routes], close: () => tryOuts.close() };
}

function frameOf({ camera: name, part: usual, deadlineMs }: AskedPictures, { bytes, trigger, part, askedAt }: Asked): Frame {
  return {
    camera: Camera.parse({ name, deadlineMs, part: part ?? usual, source: { kind: "push" } }),
    file: null,
    triggerId: trigger ?? randomUUID(),
    isAsked: true,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    bytes,
    unseen: "frame-unreadable",
    modifiedNs: String(process.hrtime.bigint()),
    inode: "",
    capturedAt: new Date(),
    takenAt: askedAt,
  };
}

/** Pictures with words of their own; the inspector for the last words is kept for a while. */
class TryOuts {
  readonly #stages: Stages;
  readonly #config: AgentConfig;
  /** These verdicts are a stream of their own: the line's has no gap for them. */
  readonly #bootId = randomUUID();
  #seq = 0;
  #opened: { key: string; candidate: Promise<Candidate> } | null = null;
  #idle: NodeJS.Timeout | null = null;

  constructor(stages: Stages, config: AgentConfig) {
    this.#stages = stages;
    this.#config = config;
  }

  async answer(frame: Frame, words: WordsRequest, { bytes, map }: Asked) {
    const { setup, worker, hangMs } = await this.#open(words);
    // Other words take seconds to be read the first time, which is nothing a picture's deadline is about.
    const ready = { ...frame, takenAt: performance.now() };
    const { inspection, map: drawn } = await worker.inspect(bytes, { map, timeoutMs: hangMs });
    const draft = draftVerdict({ config: this.#config, frame: ready, inspection, distrust: null, setup, provider: worker.provider });
    const total = performance.now() - ready.takenAt;
    const identity = { id: uuidV7(), bootId: this.#bootId, seq: ++this.#seq };
    return { verdict: { ...draft, ...identity, mode: "shadow" as const, ms: { ...draft.ms, total } }, map: map ? drawn : null };
  }

  async close(): Promise<void> {
    if (this.#idle) clearTimeout(this.#idle);
    const opened = this.#opened;
    this.#opened = null;
    await opened?.candidate.then(
      ({ worker }) => worker.close(),
      () => undefined,
    );
  }

  async #open(words: WordsRequest): Promise<Candidate> {
    const { supervisor } = this.#stages;
    const key = JSON.stringify([supervisor.setup.bundle, supervisor.setup.settings, words]);
    if (this.#opened?.key !== key) {
      await this.close();
      const opened = { key, candidate: this.#prepare(words) };
      this.#opened = opened;
      const forget = () => {
        if (this.#opened === opened) this.#opened = null;
      };
      opened.candidate.then(({ worker }) => worker.ended.then(forget), forget);
    }
    if (this.#idle) clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.close(), IDLE_MS).unref();
    return (this.#opened as { candidate: Promise<Candidate> }).candidate;
  }

  async #prepare(words: WordsRequest): Promise<Candidate> {
    const { supervisor, config } = this.#stages;
    const { setup } = supervisor;
    const sheet = sheetOf(words, setup.manifest.name);
    if (!sheet) return supervisor.prepare(setup);
    const { prompts } = await embedded(setup, sheet);
    const folder = await wordsFolder({ dataDir: config.dataDir, bundle: setup.bundle, folder: setup.folder, prompts });
    const settings = settingsDigest(prompts, setup.thresholds, setup.references);
    return supervisor.prepare({ ...setup, wordsFolder: folder, settings });
  }
}
