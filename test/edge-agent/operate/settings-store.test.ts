/** Versions of settings over months: what is taught between two of them, and keys that run out. With an installed bundle, real files. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { packSettings, signSettings } from "@kenpin/bundle";
import { KenpinError, type LabelledFrame, parseAtDoor, PromptSet } from "@kenpin/schema";
import { pino } from "pino";
import { databaseFile, openDatabase } from "../../../edge-agent/src/database.ts";
import { deviceKey } from "../../../edge-agent/src/operate/device-key.ts";
import { SettingsStore } from "../../../edge-agent/src/operate/settings-store.ts";
import { BankStore } from "../../../edge-agent/src/update/bank-store.ts";
import { BundleStore } from "../../../edge-agent/src/update/bundle-store.ts";
import { ReferenceStore } from "../../../edge-agent/src/update/reference-store.ts";
import { drawFrame, testBundle } from "../../support/test-bundle.ts";

const DAY_MS = 86_400_000;

test("one step back from the first settings leads to what was taught last before them", async () => {
  await onDevice(async ({ settings, references, running, fresh, teach }) => {
    await teach(2);
    const first = await settings.save(await running(), await fresh(3));
    await settings.back(await running(), "Sato");
    assert.equal(references.active().length, 2);
    const taught = await teach(4);
    const before = (await running()).settings;
    assert.equal(settings.history(await running(), before).at(-1)?.good, 4);
    await settings.save(await running(), await fresh(5));
    assert.equal(settings.history(await running(), before).at(-1)?.good, 4);
    await settings.back(await running(), "Sato");
    assert.deepEqual(
      references.active().map(({ sha256 }) => sha256),
      taught.map(({ sha256 }) => sha256),
    );
    assert.equal((await running()).settings, before);
    assert.notEqual(before, first.settings);
  });
});

test("what a key signed while it was good goes on deciding after the key ran out, and nothing new is taken from it", async () => {
  await onDevice(async ({ settings, running, fresh, signing, clock }) => {
    const { by, bank: _, ...parts } = await fresh(0);
    const setup = await running();
    const made = { madeBy: by, madeAt: clock.now.toISOString(), madeOn: { site: "test", agent: "edge-2" } };
    const jws = await signSettings(signing, { schemaVersion: 1, bundle: setup.bundle, ...parts, bank: null, ...made });
    const file = packSettings(jws, null);
    const { settings: digest } = await settings.take(setup, file, { by: "Sato" });
    clock.now = new Date(Date.now() + 2 * DAY_MS);
    await settings.settle(setup.bundle);
    assert.equal(settings.active, 1);
    assert.equal((await running()).settings, digest);
    await assert.rejects(settings.take(await running(), file, { by: "Sato" }), { code: "settings-foreign" });
  });
});

test("settings that cannot be proven leave the ones that decide as they were: their file, their bank, their frames", async () => {
  await onDevice(async ({ settings, running, fresh, banks, failing }) => {
    const first = { ...(await fresh(2)), bank: Buffer.from("the first bank") };
    const { settings: digest } = await settings.save(await running(), first);
    const file = await settings.file(1);
    failing.reason = new KenpinError("golden-mismatch", "a golden image scores otherwise");
    await assert.rejects(settings.take(await running(), file, { by: "Sato" }), { code: "golden-mismatch" });
    await assert.rejects(settings.save(await running(), { ...(await fresh(3)), bank: Buffer.from("another") }), {
      code: "golden-mismatch",
    });
    await settings.settle((await running()).bundle);
    assert.equal(settings.active, 1);
    assert.equal((await running()).settings, digest);
    assert.equal(Buffer.from((await banks.read((await running()).bundle)) ?? []).toString(), "the first bank");
    assert.deepEqual(await settings.file(1), file);
  });
});

test("settings of another bundle give way to nothing: they only wait for their bundle", async () => {
  await onDevice(async ({ settings, running, fresh }) => {
    await settings.save(await running(), await fresh(1));
    await settings.settle("e".repeat(64));
    assert.equal(settings.active, 1);
    assert.equal(await settings.chosen("e".repeat(64)), null);
  });
});

async function onDevice(use: (device: Awaited<ReturnType<typeof openDevice>>) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "kenpin-settings-"));
  const device = await openDevice(dataDir);
  try {
    await use(device);
  } finally {
    device.db.close();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** The stores as the agent joins them, without an inspector: a change is taken over as soon as it is asked for. */
async function openDevice(dataDir: string) {
  const db = openDatabase(databaseFile(dataDir));
  const bundle = await testBundle();
  const clock = { now: new Date() };
  const references = new ReferenceStore(db, dataDir);
  const banks = new BankStore(dataDir);
  const failing: { reason: KenpinError | null } = { reason: null };
  const settings: SettingsStore = new SettingsStore({
    db,
    config: { site: "test", agent: "edge-1", dataDir, localSettings: true },
    key: await deviceKey(dataDir),
    references,
    rootNamed: (at = clock.now) => store.keys(at),
    keepBank: (digest, bank) => banks.write(digest, bank),
    now: () => clock.now,
    log: pino({ level: "silent" }),
  });
  const chosen = (digest: string) => settings.chosen(digest);
  const store: BundleStore = new BundleStore({ db, dataDir, rootKey: bundle.signer.rootKey, references, chosen });
  await store.install(bundle.file);
  store.adopt(await store.setup(bundle.digest));
  settings.connect(async ({ chosen: choice, references: taught, keep }) => {
    if (failing.reason) throw failing.reason;
    keep(await store.setup(bundle.digest, references.located(taught), choice));
  });
  const running = () => store.setup(bundle.digest);
  const frames = async (count: number) => {
    const kept: LabelledFrame[] = [];
    for (let i = 0; i < count; i++) {
      const bytes = await drawFrame();
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      await references.keep(sha256, bytes);
      kept.push({ sha256, label: "good" });
    }
    return kept;
  };
  return {
    db,
    clock,
    references,
    banks,
    failing,
    settings,
    running,
    signing: bundle.signer.signing,
    /** Settings with so many references. */
    fresh: async (count: number) => {
      const { folder, thresholds } = await running();
      const prompts = parseAtDoor(PromptSet, JSON.parse(await readFile(join(folder, "prompts.json"), "utf8")), "prompts.json");
      return { prompts, sheet: null, thresholds, references: await frames(count), by: "Sato", bank: null };
    },
    /** As the hub orders it. */
    teach: async (count: number) => {
      const taught = await frames(count);
      references.change({ add: taught, remove: references.active().map(({ sha256 }) => sha256) });
      references.activate(references.complete()?.set as string);
      return taught;
    },
  };
}
