/**
 * The settings of this device, one version after another: signed files under dataDir/settings, which of them decides in the
 * database. Nothing decides that was not verified just before: a file that was changed on the disk is refused at the next start.
 * A version belongs to one bundle; under another one the bundle's own words and thresholds decide until somebody saves anew.
 * In: what a set-up chose, or a file from another device. Out: versions, and for the update stage what they decide by.
 */
import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  openSettings,
  packSettings,
  type PrivateKey,
  publicKey,
  SETTINGS_FILE_LIMIT,
  type SettingsFile,
  sha256,
  signSettings,
} from "@kenpin/bundle";
import { type AgentConfig, errorLine, KenpinError, type LabelledFrame, type Settings, type SettingsRow } from "@kenpin/schema";
import type { Logger } from "pino";
import { type Database, readFact, writeFact } from "../database.ts";
import { writeDurably } from "../durable-file.ts";
import type { Chosen, Setup } from "../setup.ts";
import { writeAudit } from "./audit.ts";
import { type Row, shown, summaryOf } from "./settings-row.ts";

/** What the update stage does for a change: proves it beside the running one, then calls `keep` between two frames. */
export type Apply = (change: {
  chosen: Chosen | null;
  references: readonly LabelledFrame[];
  keep: (setup: Setup) => void;
}) => Promise<void>;
/** The reference frames' store, as far as settings need it. */
type References = {
  activeSet: string;
  active: () => readonly LabelledFrame[];
  /** Inside a transaction: these frames are a set of their own, and the active one. */
  place: (frames: readonly LabelledFrame[]) => string;
  activateSet: (set: string) => void;
  framesOf: (set: string) => readonly LabelledFrame[];
};
export type SettingsStoreOptions = {
  db: Database;
  config: Pick<AgentConfig, "site" | "agent" | "dataDir" | "localSettings">;
  key: PrivateKey;
  /** Those that the root key names and that have not run out at a time: now, unless told. */
  rootNamed: (at?: Date) => Promise<ReadonlyMap<string, string>>;
  references: References;
  keepBank: (bundle: string, bank: Uint8Array) => Promise<void>;
  now: () => Date;
  log: Logger;
};
export type NewSettings = Pick<Settings, "prompts" | "sheet" | "thresholds" | "references"> & { by: string; bank: Uint8Array | null };
const ACTIVE = "settings.active";
/** The references there were before the first settings. */
const BASE_SET = "settings.base-set";
const KEPT = 50;

export class SettingsStore {
  #options: SettingsStoreOptions;
  #folder: string;
  #apply: Apply | null = null;
  #listener: () => void = () => undefined;

  constructor(options: SettingsStoreOptions) {
    this.#options = options;
    this.#folder = join(options.config.dataDir, "settings");
  }

  /** The update stage needs this store to start, and this store needs it to change anything. */
  connect(apply: Apply): void {
    this.#apply = apply;
  }

  onChange(listener: () => void): void {
    this.#listener = listener;
  }

  get active(): number {
    return readFact<number>(this.#options.db, ACTIVE) ?? 0;
  }

  /**
   * Before anything decides: a version that this device may not decide by any more, or that was changed on the disk, gives way to
   * the bundle's own words and thresholds and to the references there were before any settings.
   */
  async settle(bundle: string | null): Promise<void> {
    const row = this.#row(this.active);
    const why = row && (await this.#refusalOf(row, bundle));
    if (!row || !why) return;
    const { db, references, now, log } = this.#options;
    db.transaction(() => {
      if (references.activeSet === row.set_id) references.activateSet(readFact<string>(db, BASE_SET) ?? "");
      writeFact(db, ACTIVE, null);
      writeAudit(db, { at: now().toISOString(), who: "kenpin-agent", what: "settings-refused", detail: `version ${row.version}: ${why}` });
    })();
    log.error({ version: row.version, why }, "settings-refused");
  }

  /** What decides under this bundle in place of its own words and thresholds; null where nothing does, or it cannot be proven. */
  async chosen(bundle: string): Promise<Chosen | null> {
    const row = this.#row(this.active);
    if (row?.bundle !== bundle) return null;
    try {
      const { settings } = await this.#read(row);
      return chosenOf(settings, row.version);
    } catch (error) {
      this.#options.log.error({ version: row.version, why: errorLine(error) }, "settings-refused");
      return null;
    }
  }

  /** The references there were before any settings. */
  get baseFrames(): readonly LabelledFrame[] {
    const { db, references } = this.#options;
    return this.active === 0 ? references.active() : references.framesOf(readFact<string>(db, BASE_SET) ?? "");
  }

  /** Newest first, down to the bundle as it came. */
  history(running: Setup, ownDigest: string): SettingsRow[] {
    const rows = this.#options.db.prepare<[], Row>("SELECT * FROM settings ORDER BY version DESC").all();
    const active = rows.find(({ version }) => version === this.active && version > 0)?.bundle === running.bundle ? this.active : 0;
    const { name, createdAt } = running.manifest;
    const base: SettingsRow = {
      version: 0,
      settings: ownDigest,
      bundle: running.bundle,
      by: name,
      at: createdAt,
      good: this.baseFrames.length,
      bad: 0,
      words: [],
      cut: running.thresholds.cut,
      signedBy: "root-named key",
      active: active === 0,
    };
    return [...rows.map((row) => shown(row, active)), base];
  }

  /** Signs with the device's key, and decides by it from the next frame on. */
  async save(running: Setup, fresh: NewSettings): Promise<SettingsRow> {
    const { config, key, now } = this.#options;
    this.#needLocal();
    const { by, bank, ...parts } = fresh;
    const settings: Omit<Settings, "key"> = {
      schemaVersion: 1,
      bundle: running.bundle,
      ...parts,
      bank: bank && { sha256: sha256(bank), bytes: bank.length },
      madeBy: by,
      madeAt: now().toISOString(),
      madeOn: { site: config.site, agent: config.agent },
    };
    const jws = await signSettings(key, settings);
    const file = { settings: { ...settings, key: publicKey(key) }, jws, bank, keyId: key.keyId };
    return this.#adopt(file, { by, what: "settings-saved", signedBy: "this device" });
  }

  /**
   * Takes a file from elsewhere. One that a root-named key signed stays as it is; another device's, whose fingerprint the person has
   * compared, is signed anew by this one, so that from now on this device answers for it.
   */
  async take(
    running: Setup,
    bytes: Uint8Array,
    { by, fingerprint }: { by: string; fingerprint?: string | undefined },
  ): Promise<SettingsRow> {
    if (bytes.length > SETTINGS_FILE_LIMIT) throw new KenpinError("settings-broken", "the settings file was refused: it is too large");
    const rootNamed = await this.#options.rootNamed();
    const { key } = this.#options;
    const own = new Map(this.#options.config.localSettings ? [[key.keyId, publicKey(key)]] : []);
    const file = await openSettings(bytes, { keys: new Map([...own, ...rootNamed]), fingerprint });
    if (file.settings.bundle !== running.bundle) {
      const [theirs, ours] = [file.settings.bundle.slice(0, 12), running.bundle.slice(0, 12)];
      throw new KenpinError(
        "settings-foreign",
        `the settings were made for bundle ${theirs}…, this device runs ${ours}…; roll that bundle out first`,
      );
    }
    if (rootNamed.get(file.keyId) === file.settings.key)
      return this.#adopt(file, { by, what: "settings-taken", signedBy: "root-named key" });
    this.#needLocal();
    const { key: theirKey, ...parts } = file.settings;
    const jws = await signSettings(key, parts);
    const resigned = { ...file, jws, settings: { ...parts, key: publicKey(key) }, keyId: key.keyId };
    const what = theirKey === publicKey(key) ? "settings-taken" : "settings-confirmed";
    return this.#adopt(resigned, { by, what, signedBy: "this device" });
  }

  /** Decides again by what decided before the active version was saved. */
  async back(running: Setup, by: string): Promise<void> {
    const { db, references, now, log } = this.#options;
    const row = this.#row(this.active);
    if (!row || row.bundle !== running.bundle)
      throw new KenpinError("nothing-before", "the bundle's own settings decide; there is nothing to go back to");
    const before = this.#row(row.before);
    const target = before && before.bundle === running.bundle ? before : null;
    const file = target && (await this.#read(target));
    const set = target?.set_id ?? readFact<string>(db, BASE_SET) ?? "";
    await this.#decideBy(running.bundle, file?.bank ?? null, {
      chosen: target && file ? chosenOf(file.settings, target.version) : null,
      references: references.framesOf(set),
      keep: () =>
        db.transaction(() => {
          references.activateSet(set);
          writeFact(db, ACTIVE, target?.version ?? null);
          writeAudit(db, {
            at: now().toISOString(),
            who: by,
            what: "settings-back",
            detail: `from ${row.version} to ${target?.version ?? 0}`,
          });
        })(),
    });
    log.info({ by, from: row.version, to: target?.version ?? 0 }, "settings-back");
    this.#listener();
  }

  /** The file as it would be taken on another device. */
  async file(version: number): Promise<Uint8Array> {
    const row = this.#row(version);
    if (!row) throw new KenpinError("settings-unknown", `there are no settings of version ${version} here`);
    return readFile(join(this.#folder, row.file));
  }

  async #adopt(
    file: SettingsFile,
    { by, what, signedBy }: { by: string; what: string; signedBy: SettingsRow["signedBy"] },
  ): Promise<SettingsRow> {
    const { db, references, now, log } = this.#options;
    const { settings, jws, bank } = file;
    const bytes = packSettings(jws, bank);
    const name = createHash("sha256").update(jws).digest("hex");
    await writeDurably(join(this.#folder, name), bytes);
    let version = 0;
    const keep = ({ settings: digest }: Setup) =>
      db.transaction(() => {
        if (this.active === 0) writeFact(db, BASE_SET, references.activeSet);
        const set = references.place(settings.references);
        version = this.#insert({ digest, settings, set, name, signedBy });
        writeFact(db, ACTIVE, version);
        writeAudit(db, {
          at: now().toISOString(),
          who: by,
          what,
          detail: `version ${version}, settings ${digest.slice(0, 8)}, made on ${settings.madeOn.site}/${settings.madeOn.agent} by ${settings.madeBy}`,
        });
      })();
    try {
      await this.#decideBy(settings.bundle, bank, { chosen: chosenOf(settings, null), references: settings.references, keep });
    } catch (error) {
      await this.#drop(name);
      throw error;
    }
    log.info({ by, version, what }, "settings-changed");
    this.#listener();
    await this.#sweep();
    return shown(this.#row(version) as Row, version);
  }

  #insert(parts: { digest: string; settings: Settings; set: string; name: string; signedBy: string }): number {
    const { digest, settings, set, name, signedBy } = parts;
    const { bundle, madeBy, madeAt } = settings;
    const sql = `INSERT INTO settings (digest, bundle, set_id, before, file, made_by, made_at, signed_by, summary) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;
    const values = [digest, bundle, set, this.active, name, madeBy, madeAt, signedBy, summaryOf(settings)];
    return Number(this.#options.db.prepare(sql).run(...values).lastInsertRowid);
  }

  /** The newest ones and the active one stay. */
  async #sweep(): Promise<void> {
    const { db } = this.#options;
    const old = db
      .prepare<[number, number], Row>("SELECT * FROM settings WHERE version <> ? ORDER BY version DESC LIMIT -1 OFFSET ?")
      .all(this.active, KEPT);
    for (const { version, file } of old) {
      db.prepare("DELETE FROM settings WHERE version = ?").run(version);
      await this.#drop(file);
    }
  }

  /** Two versions may be of one file. */
  async #drop(file: string): Promise<void> {
    if (!this.#options.db.prepare("SELECT 1 FROM settings WHERE file = ?").get(file)) await rm(join(this.#folder, file), { force: true });
  }

  /** The bank has to lie there before the change is proven; where that fails, the one that decides goes back to its place. */
  async #decideBy(bundle: string, bank: Uint8Array | null, change: Parameters<Apply>[0]): Promise<void> {
    const apply = this.#need();
    if (bank) await this.#options.keepBank(bundle, bank);
    try {
      await apply(change);
    } catch (error) {
      const row = this.#row(this.active);
      const file = row?.bundle === bundle ? await this.#read(row).catch(() => null) : null;
      if (bank && file?.bank) await this.#options.keepBank(bundle, file.bank);
      throw error;
    }
  }

  async #read(row: Row): Promise<SettingsFile> {
    return openSettings(await readFile(join(this.#folder, row.file)), { keys: await this.#trusted() });
  }

  /** Whose kept files decide: what was proven when it was taken goes on deciding after its key ran out, as a bundle does. */
  async #trusted(): Promise<Map<string, string>> {
    const { key, rootNamed, config } = this.#options;
    const own = config.localSettings ? [[key.keyId, publicKey(key)] as const] : [];
    return new Map([...own, ...(await rootNamed(new Date(0)))]);
  }

  /** Of another bundle's settings only the references count still. */
  async #refusalOf(row: Row, bundle: string | null): Promise<string | null> {
    if (row.signed_by === "this device" && !this.#options.config.localSettings) return "made here, and localSettings is false now";
    if (row.bundle !== bundle) return null;
    const keys = await this.#trusted().catch(() => null); // a bundle that cannot be read names none: another one will be started with
    try {
      if (keys) await openSettings(await readFile(join(this.#folder, row.file)), { keys });
      return null;
    } catch (error) {
      return errorLine(error).slice(0, 300);
    }
  }

  #row(version: number): Row | undefined {
    return this.#options.db.prepare<[number], Row>("SELECT * FROM settings WHERE version = ?").get(version);
  }

  #needLocal(): void {
    if (!this.#options.config.localSettings) {
      throw new KenpinError(
        "local-settings-off",
        "this agent's configuration has localSettings: false; settings come from the hub, signed by a key its root names",
      );
    }
  }

  #need(): Apply {
    if (!this.#apply) throw new KenpinError("agent-starting", "the agent is still starting; try again in a moment");
    return this.#apply;
  }
}

function chosenOf({ prompts, sheet, thresholds }: Settings, version: number | null): Chosen {
  return { prompts, sheet, thresholds, version };
}
