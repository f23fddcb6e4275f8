/**
 * `kenpin-agent setup`: the page's five steps on a terminal or by options alone, on the running agent's own set-up, so that what is
 * saved decides from the next frame on. In: options, a screen, the agent's page. Out: the settings that were saved, or null where
 * the person at the terminal said no. Every step may stay empty.
 */
import {
  Curve,
  KenpinError,
  PageState,
  parseAtDoor,
  type PictureRow,
  Probability,
  type SaveRequest,
  SettingsRow,
  SetupState,
} from "@kenpin/schema";
import { z } from "zod";
import { meaningLines } from "../meaning.ts";
import { curveLines, pictureLines, thresholdLine } from "./curve-text.ts";
import { settle, yes } from "./screen.ts";
import { addFolder, labelAll, look, type Place, sayWords, writeMaps } from "./steps.ts";

const Folder = z.string().min(1).max(4096);
const Cut = z
  .string()
  .regex(/^(\d+\.?\d*|\.\d+)$/, "a number from 0 to 1")
  .transform(Number)
  .pipe(Probability);

export const SetupOptions = z
  .strictObject({
    config: z.string().min(1),
    pictures: Folder.optional(),
    good: Folder.optional(),
    bad: Folder.optional(),
    sheet: Folder.optional(),
    object: z.string().max(100).optional(),
    defects: z.string().max(4000).optional(),
    cut: Cut.optional(),
    proposed: z.boolean().default(false),
    asTheyCame: z.boolean().default(false),
    maps: Folder.optional(),
    keep: z.boolean().default(false),
    by: z.string().trim().min(1).max(64).default("operator"),
    yes: z.boolean().default(false),
    json: z.boolean().default(false),
  })
  .refine(({ cut, proposed }) => cut === undefined || !proposed, "pass --cut or --proposed, not both")
  .refine(({ sheet, object, defects }) => sheet === undefined || (object === undefined && defects === undefined), {
    error: "a part sheet says all the words; pass --sheet alone, or --object and --defects",
  });
export type SetupOptions = z.infer<typeof SetupOptions>;

type Cuts = SaveRequest["thresholds"];
type Chosen = { curve: Curve; cuts: Cuts; asTheyCame: boolean };
export type SetupResult = {
  saved: SettingsRow;
  thresholds: Cuts;
  chosenBy: string;
  promise: Curve["proposed"]["promise"] | null;
  pictures: { name: string; sha256: string; label: PictureRow["label"]; score: number | null }[];
  maps: string[];
};

/** Proving on a device that builds an engine for it takes minutes. */
const SAVE_TIMEOUT_MS = 15 * 60_000;

export async function runSetup(place: Place, options: SetupOptions): Promise<SetupResult | null> {
  const { page, screen, t } = place;
  const { localSettings } = await page.ask(PageState, "GET", "/v1/state");
  if (!localSettings) {
    throw new KenpinError(
      "local-settings-off",
      "this agent has localSettings: false and takes settings from its hub only; nothing can be set up here",
    );
  }
  await begin(place, options.keep);
  await takePictures(place, options);
  await takeWords(place, options);
  const { pictures } = await look(place);
  for (const line of pictureLines(pictures, t)) screen.line(line);
  const maps = await settle(screen, {
    given: pictures.length === 0 ? "" : options.maps,
    question: t.askMaps,
    take: async (folder) => (folder === "" ? [] : writeMaps(place, pictures, folder)),
  });
  const { curve, cuts, asTheyCame } = await chooseCuts(place, options, pictures);
  if (screen.isAsking && !(await yes(screen, t.askSave, true))) return null;
  screen.line(t.saving);
  const request: SaveRequest = { thresholds: cuts, by: options.by, asTheyCame };
  const saved = await page.ask(SettingsRow, "POST", "/v1/setup/save", { body: request, timeoutMs: SAVE_TIMEOUT_MS });
  const { chosenBy, promise = null } = curve.proposed;
  const shown = pictures.map(({ name, sha256, label, look: seen }) => ({ name, sha256, label, score: seen?.score ?? null }));
  return { saved, thresholds: cuts, chosenBy, promise, pictures: shown, maps };
}

/** Options alone say everything, so they begin afresh unless told otherwise; a person goes on from what there is. */
async function begin({ page, screen, t }: Place, keep: boolean): Promise<void> {
  const { pictures } = await page.ask(SetupState, "GET", "/v1/setup");
  const isKept = keep || (screen.isAsking && pictures.length > 0 && (await yes(screen, t.keep(pictures.length), true)));
  if (!isKept) await page.ask(SetupState, "DELETE", "/v1/setup");
}

async function takePictures(place: Place, { pictures, good, bad }: SetupOptions): Promise<void> {
  const { screen, t } = place;
  const step = <T>(given: string | undefined, question: string, take: (answer: string) => Promise<T>) =>
    settle(screen, { given, question, take });
  const mixed = await step(pictures, t.askPictures, async (folder) => (folder === "" ? [] : addFolder(place, folder, null)));
  await step(good, t.askGood(mixed.length), async (folder) => {
    if (folder === "all" && mixed.length > 0) await labelAll(place, mixed, "good");
    else if (folder !== "") await addFolder(place, folder, "good");
  });
  await step(bad, t.askBad, async (folder) => void (folder !== "" && (await addFolder(place, folder, "bad"))));
}

async function takeWords(place: Place, { sheet, object, defects }: SetupOptions): Promise<void> {
  const { page, screen, t } = place;
  if (sheet !== undefined) return sayWords(place, sheet);
  const areGiven = object !== undefined || defects !== undefined;
  const { wordsCanChange } = await page.ask(SetupState, "GET", "/v1/setup");
  if (!areGiven && !wordsCanChange) return screen.line(t.wordsFixed);
  const words = (text: string) =>
    text
      .split(/[,、，]/)
      .map((word) => word.trim())
      .filter(Boolean);
  await settle(screen, {
    given: areGiven ? (object ?? "") : undefined,
    question: t.askObject,
    take: async (answer) => {
      if (!areGiven && /\.ya?ml$/i.test(answer)) return sayWords(place, answer);
      const wrong = defects ?? (areGiven ? "" : await screen.ask(t.askDefects));
      return sayWords(place, { object: answer.trim(), good: [], bad: words(wrong) });
    },
  });
}

async function chooseCuts({ page, screen, t }: Place, options: SetupOptions, pictures: readonly PictureRow[]): Promise<Chosen> {
  const { cut: given, proposed } = options;
  const isLabelled = pictures.some(({ label }) => label !== null);
  const asTheyCame = options.asTheyCame || (isLabelled && (await yes(screen, t.askAsTheyCame, false)));
  const curve = await page.ask(Curve, "GET", `/v1/setup/curve?asTheyCame=${asTheyCame}`);
  const { pass, cut, fail, chosenBy } = curve.proposed;
  const show = (cuts: Cuts) => {
    for (const line of [...curveLines(curve, cuts, t), thresholdLine(cuts, t), ...meaningLines(curve, cuts, t)]) screen.line(line);
    return cuts;
  };
  if (given !== undefined) return { curve, asTheyCame, cuts: show(around(given, fail - pass)) };
  const first = show({ pass, cut, fail });
  if (pictures.length > 0) screen.line(t.chosenBy(chosenBy));
  const cuts = await settle(screen, {
    given: proposed ? "" : undefined,
    question: t.askCut(cut.toFixed(3)),
    take: async (answer) => (answer === "" ? first : show(around(parseAtDoor(Cut, answer, "the threshold"), fail - pass))),
  });
  return { curve, asTheyCame, cuts };
}

/** The proposed width of the undecided band stays about a cut that was moved. */
function around(cut: number, band: number): Cuts {
  const clamped = (value: number) => Math.min(1, Math.max(0, Math.round(value * 10_000) / 10_000));
  return { pass: Math.min(cut, clamped(cut - band / 2)), cut, fail: Math.max(cut, clamped(cut + band / 2)) };
}
