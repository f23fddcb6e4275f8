/**
 * The agent's own page and what it speaks with, on loopback unless the configuration says otherwise. All of it needs a session of
 * the page, or the token of dataDir/page.token.
 *
 * POST /v1/login-links            AgentLoginLinkRequest → AgentLoginLink
 * GET  /v1/state                  PageState
 * GET  /v1/snapshot               AgentSnapshot
 * GET  /v1/events                 server-sent events, each a PageEvent
 * GET  /v1/frames/<sha256>        a frame seen lately or one of the set-up's; /map its heat map, PNG
 * GET  /v1/setup                  SetupState; DELETE forgets it
 * POST /v1/setup/pictures?name    bytes of a picture → PictureRow
 * POST /v1/setup/folder           the configured folder's pictures are taken in; SetupState
 * POST /v1/setup/take             TakeRequest: the camera's newest frame → PictureRow
 * PUT  /v1/setup/pictures/<sha256>  PictureLabel → PictureRow; DELETE takes it out
 * GET  /v1/setup/words?text       WordSuggestion[]
 * PUT  /v1/setup/words            WordsRequest, or {sheet: PartSheet} → Words
 * POST /v1/setup/look             embeds, teaches and looks; SetupState, progress comes as events
 * GET  /v1/setup/curve?asTheyCame  Curve
 * POST /v1/setup/save             SaveRequest → SettingsRow
 * GET  /v1/settings               SettingsRow[], newest first
 * GET  /v1/audit                 AuditRow[], newest first
 * POST /v1/settings/back          one step back → SettingsRow[]
 * GET  /v1/settings/<version>/file  the settings file
 * POST /v1/settings?fingerprint   a settings file → SettingsRow
 */
import { z } from "zod";
import { PartSheet } from "./part-sheet.ts";
import { Name, Probability, Region, Sha256, Timestamp } from "./primitives.ts";
import { LabelledFrame } from "./settings.ts";
import { Thresholds } from "./thresholds.ts";
import { Verdict } from "./verdict.ts";

const PersonName = z.string().trim().min(1).max(64);

export const AgentLoginLinkRequest = z.strictObject({ name: PersonName.default("operator") });

/** Opens the page once, within five minutes. */
export const AgentLoginLink = z.strictObject({ path: z.string().startsWith("/login?code="), expiresAt: Timestamp });
export type AgentLoginLink = z.infer<typeof AgentLoginLink>;

export const PageState = z.strictObject({
  site: Name,
  line: Name,
  agent: Name,
  version: z.string(),
  person: z.string(),
  cameras: z.array(z.strictObject({ name: Name, part: z.string().nullable(), paused: z.boolean() })),
  running: z.strictObject({
    bundle: Sha256,
    name: z.string(),
    release: z.int(),
    settings: Sha256,
    references: z.int(),
    inspecting: z.boolean(),
    thresholds: Thresholds,
  }),
  broker: z.enum(["connected", "away"]),
  backlog: z.int(),
  localSettings: z.boolean(),
  /** Served beyond this machine without encryption. */
  plainHttp: z.boolean(),
  /** The device key's, as people compare it. */
  fingerprint: z.string(),
  /** Newest first. */
  verdicts: z.array(Verdict),
  fails: z.array(Verdict),
});
export type PageState = z.infer<typeof PageState>;

export const PictureRow = z.strictObject({
  sha256: Sha256,
  name: z.string().max(200),
  from: z.enum(["camera", "folder", "upload", "settings"]),
  label: z.enum(["good", "bad"]).nullable(),
  /** null until it was looked at, or after words or labels changed. */
  look: z
    .strictObject({
      /** Of a taught picture: as if it had not been taught. */
      score: Probability,
      width: z.int(),
      height: z.int(),
      regions: z.array(Region),
      prompt: z.string(),
    })
    .nullable(),
});
export type PictureRow = z.infer<typeof PictureRow>;

/** One word of a person's and the sentence that the model reads. */
export const WordRow = z.strictObject({
  side: z.enum(["good", "bad"]),
  word: z.string(),
  text: z.string(),
  from: z.string(),
});
export const Words = z.strictObject({ sheet: PartSheet.nullable(), rows: z.array(WordRow), warnings: z.array(z.string()) });
export type Words = z.infer<typeof Words>;

export const Work = z.strictObject({
  what: z.enum(["words", "teaching", "looking", "proving"]),
  done: z.int(),
  of: z.int(),
  secondsLeft: z.number().nullable(),
});
export type Work = z.infer<typeof Work>;

export const SetupState = z.strictObject({
  pictures: z.array(PictureRow),
  words: Words,
  /** Whether other words can be embedded here: the bundle brings its text tower. */
  wordsCanChange: z.boolean(),
  folder: z.string().nullable(),
  /** What was looked at is what would be saved. */
  upToDate: z.boolean(),
  work: Work.nullable(),
  fault: z.string().nullable(),
});
export type SetupState = z.infer<typeof SetupState>;

export const TakeRequest = z.strictObject({ camera: Name, label: LabelledFrame.shape.label.nullable() });
export const PictureLabel = z.strictObject({ label: LabelledFrame.shape.label.nullable() });

const WordList = z.array(z.string().trim().min(1).max(100)).max(64);
/** Empty lists and an empty object stand for what is said of any part; all empty for the bundle's own words. */
export const WordsRequest = z.strictObject({ object: z.string().trim().max(100), good: WordList, bad: WordList });
export type WordsRequest = z.infer<typeof WordsRequest>;
export const SayRequest = z.union([WordsRequest, z.strictObject({ sheet: PartSheet })]);
export type SayRequest = z.infer<typeof SayRequest>;

export const WordSuggestion = z.strictObject({ word: z.string(), means: z.string(), side: z.enum(["good", "bad", "object"]) });
export type WordSuggestion = z.infer<typeof WordSuggestion>;

/** At a cut: shares of good parts stopped (overkill) and of bad ones let through (escape); null where none were labelled. */
const CurvePoint = z.strictObject({ cut: Probability, overkill: Probability.nullable(), escape: Probability.nullable() });
export const Curve = z.strictObject({
  good: z.array(Probability),
  bad: z.array(Probability),
  /** Looked at, but said to be neither. */
  unsorted: z.array(Probability),
  points: z.array(CurvePoint),
  proposed: Thresholds,
});
export type Curve = z.infer<typeof Curve>;

export const SaveRequest = z.strictObject({
  thresholds: Thresholds.pick({ pass: true, cut: true, fail: true }),
  by: PersonName,
  /** The labelled pictures were taken as they came from the line, none was picked: only then may anything be promised. */
  asTheyCame: z.boolean(),
});
export type SaveRequest = z.infer<typeof SaveRequest>;

export const SettingsRow = z.strictObject({
  /** Counted on this device; 0 is the bundle as it came. */
  version: z.int().min(0),
  settings: Sha256,
  bundle: Sha256,
  by: z.string(),
  at: Timestamp,
  good: z.int(),
  bad: z.int(),
  words: z.array(z.string()),
  cut: Probability,
  signedBy: z.enum(["this device", "root-named key"]),
  active: z.boolean(),
});
export type SettingsRow = z.infer<typeof SettingsRow>;

/** A change of what decides, by whom. */
export const AuditRow = z.strictObject({ at: Timestamp, who: z.string(), what: z.string(), detail: z.string() });
export type AuditRow = z.infer<typeof AuditRow>;

export const PageEvent = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("verdict"), data: Verdict }),
  z.strictObject({ type: z.literal("setup"), data: SetupState }),
  z.strictObject({ type: z.literal("changed"), data: z.strictObject({}) }),
]);
export type PageEvent = z.infer<typeof PageEvent>;
