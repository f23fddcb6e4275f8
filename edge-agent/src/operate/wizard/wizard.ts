/**
 * One set-up in the making: pictures, words, what an inspector of its own sees by them, and the settings that come of it. The running
 * inspector is not touched until they are saved. The page and the command line drive this very object.
 * In: pictures and words in any order, none of them needed. Out: states, and at the end signed settings. Looking is one job at a
 * time: embed the words, teach the labelled pictures, look at each; what changed meanwhile is looked at in the next one.
 */
import { createHash, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Inspector } from "@kenpin/inspector";
import {
  type Curve,
  errorLine,
  KenpinError,
  type PictureRow,
  type PromptSet,
  type SaveRequest,
  type SettingsRow,
  type SetupState,
  type Work,
  type Words,
  type SayRequest,
} from "@kenpin/schema";
import type { Logger } from "pino";
import type { Chosen, Setup } from "../../setup.ts";
import { wordsFolder } from "../../words-folder.ts";
import type { NewSettings } from "../settings-store.ts";
import { chosenThresholds, curveOf } from "./curve.ts";
import { pictureNames, readPicture } from "./picture-folder.ts";
import { Pictures } from "./pictures.ts";
import { canEmbed, compiled, embedded, readPrompts, sheetOf, shownPrompts } from "./words.ts";

export type WizardOptions = {
  dataDir: string;
  /** Offered as a source of pictures. */
  folder: string | null;
  part: string;
  running: () => Setup;
  chosen: (bundle: string) => Promise<Chosen | null>;
  /** An inspector beside the running one. */
  open: (setup: Setup) => Promise<Inspector>;
  /** Keeps a labelled picture's bytes among the references. */
  keepFrame: (sha256: string, bytes: Uint8Array) => Promise<void>;
  save: (running: Setup, fresh: NewSettings) => Promise<SettingsRow>;
  onChange: (state: SetupState) => void;
  log: Logger;
};

/** `prompts` is null until the words are embedded; `revision` is another one for other words. */
type Said = { sheet: Chosen["sheet"]; words: Words; prompts: PromptSet | null; revision: string };
type Opened = { key: string; inspector: Inspector };

/** An inspector that nobody asks holds memory for nothing. */
const IDLE_MS = 10 * 60_000;
const SAID_EVERY_MS = 150;

export class Wizard {
  readonly #options: WizardOptions;
  readonly #pictures: Pictures;
  #said: Said | null = null;
  #bundle = "";
  #opened: Opened | null = null;
  #idle: NodeJS.Timeout | null = null;
  #work: Work | null = null;
  #job: Promise<void> = Promise.resolve();
  #fault: string | null = null;
  #saidAt = 0;

  constructor(options: WizardOptions) {
    this.#options = options;
    this.#pictures = new Pictures(options.dataDir);
  }

  async state(): Promise<SetupState> {
    const { running, folder } = this.#options;
    const { words } = await this.#begin();
    const key = await this.#lookKey();
    const pictures = this.#pictures.all.map(({ lookKey, look, ...row }): PictureRow => ({ ...row, look: lookKey === key ? look : null }));
    return {
      pictures,
      words,
      wordsCanChange: canEmbed(running()),
      folder,
      upToDate: pictures.every(({ look }) => look !== null),
      work: this.#work,
      fault: this.#fault,
    };
  }

  async add(bytes: Uint8Array, about: Pick<PictureRow, "name" | "from" | "label">): Promise<PictureRow> {
    await this.#begin();
    const { lookKey: _, ...row } = await this.#pictures.add(bytes, about);
    await this.#tell();
    return row;
  }

  /** Every picture of a folder of this device, unlabelled or as said. */
  async addFolder(folder: string, label: PictureRow["label"] = null): Promise<number> {
    let added = 0;
    for (const name of await pictureNames(folder)) {
      await this.add(await readPicture(folder, name), { name, from: "folder", label });
      added++;
    }
    return added;
  }

  async label(sha256: string, label: PictureRow["label"]): Promise<void> {
    this.#pictures.label(sha256, label);
    await this.#tell();
  }

  async remove(sha256: string): Promise<void> {
    await this.#pictures.remove(sha256);
    await this.#tell();
  }

  /** Says what these words become; they are embedded when they are looked by. */
  async say(request: SayRequest): Promise<Words> {
    const { running, part } = this.#options;
    const setup = running();
    const sheet = "sheet" in request ? request.sheet : sheetOf(request, part);
    const revision = randomUUID();
    if (sheet) this.#said = { sheet, words: await compiled(setup, sheet), prompts: null, revision };
    else {
      const prompts = await readPrompts(setup.folder);
      this.#said = { sheet, words: shownPrompts(prompts, null), prompts, revision };
    }
    await this.#tell();
    return this.#said.words;
  }

  /** Begins to look, or answers that it is under way; `settled` waits for it. */
  look(): void {
    if (this.#work) return;
    this.#fault = null;
    this.#setWork({ what: "words", done: 0, of: 1, secondsLeft: null });
    this.#job = this.#lookAtAll()
      .catch((error) => {
        this.#fault = errorLine(error);
        this.#options.log.warn({ why: this.#fault }, "setup-not-looked-at");
        void this.#close();
      })
      .finally(() => {
        this.#work = null;
        return this.#tell();
      });
  }

  async settled(): Promise<void> {
    await this.#job;
    if (this.#fault) throw new KenpinError("setup-failed", this.#fault);
  }

  async curve(asTheyCame: boolean): Promise<Curve> {
    const { pictures, upToDate } = await this.state();
    if (!upToDate) throw notLookedAt();
    const of = (label: PictureRow["label"]) => pictures.filter((picture) => picture.label === label).map(({ look }) => look?.score ?? 0);
    return curveOf({ good: of("good"), bad: of("bad"), unsorted: of(null) }, this.#options.running().thresholds, asTheyCame);
  }

  async save(request: SaveRequest): Promise<SettingsRow> {
    const { running, keepFrame, save } = this.#options;
    const setup = running();
    const state = await this.state();
    if (this.#work || !state.upToDate || setup.bundle !== this.#bundle) throw notLookedAt();
    const thresholds = chosenThresholds(await this.curve(request.asTheyCame), request);
    const references = this.#pictures.labelled();
    for (const { sha256 } of references) await keepFrame(sha256, (await this.#pictures.read(sha256)) as Uint8Array);
    const prompts = await this.#prompts();
    const isTaught = references.filter(({ label }) => label === "good").length > 1;
    const bank = isTaught && this.#opened ? await this.#opened.inspector.saveBank() : null;
    const { sheet } = await this.#begin();
    const row = await save(setup, { prompts, sheet, thresholds, references, by: request.by, bank });
    await this.#close();
    return row;
  }

  async picture(sha256: string): Promise<Uint8Array | null> {
    return this.#pictures.read(sha256);
  }

  async map(sha256: string): Promise<Uint8Array | null> {
    return this.#pictures.readMap(sha256);
  }

  /** Forgets everything but what was saved. */
  async clear(): Promise<void> {
    await this.#job;
    await this.#close();
    await this.#pictures.clear();
    this.#said = null;
    this.#fault = null;
    await this.#tell();
  }

  async close(): Promise<void> {
    await this.#job.catch(() => undefined);
    await this.#close();
    await this.#pictures.clear();
  }

  /** A set-up goes on from what decides now; another bundle meanwhile has other words and another model. */
  async #begin(): Promise<Said> {
    const { running, chosen } = this.#options;
    const setup = running();
    if (this.#said && this.#bundle === setup.bundle) return this.#said;
    const isNew = this.#bundle === "";
    await this.#close();
    this.#bundle = setup.bundle;
    const prompts = await readPrompts(setup.wordsFolder);
    const sheet = (await chosen(setup.bundle))?.sheet ?? null;
    this.#said = { sheet, words: shownPrompts(prompts, sheet), prompts, revision: setup.wordsFolder };
    if (isNew) await this.#addReferences(setup);
    return this.#said;
  }

  async #addReferences({ references }: Setup): Promise<void> {
    for (const { file, label } of references) {
      const bytes = await readFile(file).catch(() => null); // known by its bank alone
      if (bytes) await this.#pictures.add(bytes, { name: "", from: "settings", label });
    }
  }

  async #prompts(): Promise<PromptSet> {
    const said = await this.#begin();
    if (said.prompts) return said.prompts;
    if (!said.sheet) return readPrompts(this.#options.running().folder);
    const { prompts, warnings } = await embedded(this.#options.running(), said.sheet);
    Object.assign(said, { prompts, words: { ...said.words, warnings } });
    return prompts;
  }

  /** Names everything that a look depends on beside the picture. */
  async #lookKey(): Promise<string> {
    const { revision } = await this.#begin();
    return createHash("sha256")
      .update(JSON.stringify([this.#bundle, revision, this.#pictures.labelled()]))
      .digest("hex");
  }

  async #lookAtAll(): Promise<void> {
    const prompts = await this.#prompts();
    const key = await this.#lookKey();
    const inspector = await this.#inspectorFor(prompts);
    const held = this.#pictures.all;
    const labelled = this.#pictures.labelled();
    const frames = await Promise.all(
      labelled.map(async ({ sha256, label }) => ({ label, frame: (await this.#pictures.read(sha256)) as Uint8Array })),
    );
    const onProgress = this.#clock("teaching");
    const { scores } = await inspector.teach(frames, { onProgress });
    const untouched = new Map(labelled.map(({ sha256 }, i) => [sha256, scores?.[i]]));
    const saw = this.#clock("looking");
    for (const [i, { sha256 }] of held.entries()) {
      const bytes = await this.#pictures.read(sha256);
      if (!bytes) continue; // taken out meanwhile
      const { inspection, map } = await inspector.inspect(bytes, { map: true });
      await this.#pictures.keepMap(sha256, map);
      const { width, height, regions, prompt } = inspection;
      this.#pictures.saw(sha256, { score: untouched.get(sha256) ?? inspection.score, width, height, regions, prompt }, key);
      saw(i + 1, held.length);
    }
    this.#armIdle();
  }

  async #inspectorFor(prompts: PromptSet): Promise<Inspector> {
    const { running, open, dataDir } = this.#options;
    const setup = running();
    const key = createHash("sha256").update(setup.bundle).update(JSON.stringify(prompts)).digest("hex");
    if (this.#opened?.key === key) return this.#opened.inspector;
    await this.#close();
    const folder = await wordsFolder({ dataDir, bundle: setup.bundle, folder: setup.folder, prompts });
    const opened = { key, inspector: await open({ ...setup, folder }) };
    this.#opened = opened;
    void opened.inspector.ended.then(() => {
      if (this.#opened === opened) this.#opened = null;
    });
    return opened.inspector;
  }

  /** Tells how far a step is, and by what it took so far how long it will be. */
  #clock(what: Work["what"]): (done: number, of: number) => void {
    const began = performance.now();
    return (done, of) => {
      const secondsLeft = done === 0 ? null : Math.round(((performance.now() - began) / 1000) * (of / done - 1));
      this.#setWork({ what, done, of, secondsLeft });
    };
  }

  #setWork(work: Work): void {
    this.#work = work;
    if (performance.now() - this.#saidAt < SAID_EVERY_MS && work.done < work.of) return;
    this.#saidAt = performance.now();
    void this.#tell();
  }

  async #tell(): Promise<void> {
    this.#options.onChange(await this.state());
  }

  #armIdle(): void {
    if (this.#idle) clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (!this.#work) void this.#close();
    }, IDLE_MS);
    this.#idle.unref();
  }

  async #close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = null;
    if (this.#idle) clearTimeout(this.#idle);
    await opened?.inspector.close();
  }
}

function notLookedAt(): KenpinError {
  return new KenpinError(
    "setup-not-looked-at",
    "words, labels or the bundle changed since the pictures were looked at; look at them again first",
  );
}
