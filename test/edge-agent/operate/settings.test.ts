/**
 * Settings from elsewhere on real agents: what is refused and in which line, whose files are taken, and that nothing which cannot be
 * proven decides, not even after somebody changed it on the disk.
 */
import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openSettings, type PrivateKey, packSettings, type SettingsFile, signSettings } from "@kenpin/bundle";
import { AuditRow, KenpinError, PageState, type Settings, SettingsRow } from "@kenpin/schema";
import { z } from "zod";
import { pageClient } from "../../../edge-agent/src/operate/page-client.ts";
import { drawFrame, type TestBundle, testBundle } from "../../support/test-bundle.ts";
import { type AgentProcess, type EdgeSite, openSite, runCli, until } from "../edge-site.ts";

let bundle: TestBundle;
let maker: EdgeSite;
let makerAgent: AgentProcess;
let taker: EdgeSite;
let file: Uint8Array;
let fingerprint = "";
let opened: SettingsFile;

before(async () => {
  bundle = await testBundle();
  [maker, taker] = [await openSite({ bundle, page: { port: 0 } }), await openSite({ bundle, page: { port: 0 } })];
  makerAgent = await maker.startAgent();
  await taker.startAgent();
  await verdict(maker);
  await verdict(taker);
  for (let i = 0; i < 6; i++) await writeFile(join(maker.folder, `good-${i}.jpg`), await drawFrame());
  const { code, stderr } = await setUp(maker);
  assert.equal(code, 0, stderr);
  const page = await pageClient(maker.config);
  file = await page.bytes("/v1/settings/1/file");
  fingerprint = (await page.ask(PageState, "GET", "/v1/state")).fingerprint;
  opened = await openSettings(file, { keys: new Map(), fingerprint });
});
after(async () => {
  await maker.close();
  await taker.close();
});

test("a file that was changed anywhere is refused in one line, and nothing changes", async () => {
  const before = await stateOf(maker);
  const [head = "", payload = "", signature = ""] = opened.jws.split(".");
  const { key, ...parts } = opened.settings;
  const lax = { ...parts, key, thresholds: { ...parts.thresholds, cut: 1, fail: 1 } };
  const forged = Buffer.from(JSON.stringify(lax)).toString("base64url");
  const bank = opened.bank as Uint8Array;
  const otherBank = Uint8Array.from(bank, (byte, i) => (i === bank.length - 1 ? byte ^ 1 : byte));
  const cases: [bytes: Uint8Array, line: RegExp][] = [
    [packSettings([head, forged, signature].join("."), bank), /not signed by a key this device trusts; it was refused$/],
    [packSettings([head, payload, flipped(signature)].join("."), bank), /not signed by a key this device trusts; it was refused$/],
    [packSettings([head, payload, ""].join("."), bank), /not signed by a key this device trusts; it was refused$/],
    [packSettings(opened.jws, otherBank), /its memory bank is not the one that was signed for; export it again$/],
    [packSettings(opened.jws, null), /its memory bank is not the one that was signed for; export it again$/],
    [file.subarray(0, 1000), /its first line is no signed document; export it again$/],
    [Buffer.from("no settings\n"), /it is no signed settings document$/],
    [new Uint8Array(), /its first line is no signed document; export it again$/],
  ];
  for (const [bytes, line] of cases) {
    const { message } = await refusal(maker, bytes);
    assert.match(message, line);
    assert.doesNotMatch(message, /\n/);
  }
  assert.deepEqual((await stateOf(maker)).running, before.running);
  assert.equal((await historyOf(maker)).length, 2);
});

test("a file of a key that nobody here knows says its fingerprint, and is taken only once that is confirmed", async () => {
  const before = await stateOf(taker);
  const stranger = await refusal(taker, file);
  assert.equal(stranger.code, "settings-foreign");
  assert.match(stranger.message, new RegExp(`fingerprint ${fingerprint}; compare it on the device that made it, and confirm it$`));
  assert.equal((await refusal(taker, file, before.fingerprint)).code, "settings-foreign");
  assert.equal((await refusal(taker, file, fingerprint.slice(0, 9))).code, "settings-foreign");
  assert.deepEqual((await stateOf(taker)).running, before.running);
  const row = await take(taker, file, ` ${fingerprint.toUpperCase()}`);
  assert.deepEqual([row.version, row.signedBy, row.good], [1, "this device", 6]);
  assert.equal((await verdict(taker)).settings, row.settings);
  assert.equal((await verdict(taker)).settings, (await verdict(maker)).settings);
  const [audited] = await (await pageClient(taker.config)).ask(z.array(AuditRow), "GET", "/v1/audit");
  assert.equal(audited?.what, "settings-confirmed");
  assert.match(audited?.detail ?? "", /made on test\/edge-1 by Sato$/);
});

test("a key that goes by a trusted one's name is not trusted for it", async () => {
  const impostor: PrivateKey = { keyId: bundle.signer.signing.keyId, jwk: (await deviceKeyOf(taker)).jwk };
  assert.equal((await refusal(taker, await signedBy(impostor, {}))).code, "signature-invalid");
});

test("a file of a key that the root names is taken unasked and stays as it was signed, for its own bundle only", async () => {
  const foreign = await refusal(taker, await signedBy(bundle.signer.signing, { bundle: "f".repeat(64) }), fingerprint);
  assert.equal(foreign.code, "settings-foreign");
  const [theirs, ours] = ["f".repeat(12), bundle.digest.slice(0, 12)];
  assert.equal(foreign.message, `the settings were made for bundle ${theirs}…, this device runs ${ours}…; roll that bundle out first`);
  const bytes = await signedBy(bundle.signer.signing, { madeBy: "the hub" });
  const row = await take(taker, bytes);
  assert.deepEqual([row.by, row.signedBy], ["the hub", "root-named key"]);
  assert.deepEqual(await (await pageClient(taker.config)).bytes(`/v1/settings/${row.version}/file`), bytes);
});

test("with localSettings: false only what a root-named key signed is taken", async () => {
  const site = await openSite({ bundle, page: { port: 0 }, localSettings: false });
  try {
    await site.startAgent();
    for (let i = 0; i < 2; i++) await writeFile(join(site.folder, `good-${i}.jpg`), await drawFrame());
    const { code, stderr } = await setUp(site);
    assert.equal(code, 1);
    assert.match(stderr, /^kenpin-agent: this agent has localSettings: false .*\[local-settings-off\]\n$/);
    const page = await pageClient(site.config);
    const body = { thresholds: { pass: 0.5, cut: 0.5, fail: 0.5 }, by: "Sato", asTheyCame: false };
    await assert.rejects(page.ask(SettingsRow, "POST", "/v1/setup/save", { body }), { code: "local-settings-off" });
    assert.equal((await refusal(site, file, fingerprint)).code, "local-settings-off");
    assert.equal((await take(site, await signedBy(bundle.signer.signing, {}))).signedBy, "root-named key");
  } finally {
    await site.close();
  }
});

test("where localSettings is switched off, or a file was changed on the disk, the bundle's own decide again at the next start", async () => {
  const own = maker.inbox.verdicts[0]?.settings; // before anything was set up
  assert.equal((await historyOf(maker)).at(-1)?.settings, own);
  assert.notEqual((await stateOf(maker)).running.settings, own);
  await makerAgent.stop();
  await writeFile(maker.configFile, JSON.stringify({ ...maker.config, localSettings: false }));
  makerAgent = await maker.startAgent();
  assert.match(String(makerAgent.last("settings-refused")?.["why"]), /localSettings is false now/);
  const { running } = await stateOf(maker);
  assert.deepEqual([running.settings, running.references], [own, 0]);
  assert.equal((await verdict(maker)).settings, own);
  assert.equal((await historyOf(maker)).at(-1)?.active, true);
  await makerAgent.stop();
  await writeFile(maker.configFile, JSON.stringify(maker.config));
  makerAgent = await maker.startAgent();
  const row = await take(maker, file);
  assert.equal((await verdict(maker)).settings, row.settings);
  await makerAgent.stop();
  for (const name of await readdir(join(maker.config.dataDir, "settings"))) {
    const place = join(maker.config.dataDir, "settings", name);
    await writeFile(place, (await readFile(place)).subarray(1));
  }
  makerAgent = await maker.startAgent();
  assert.equal((await verdict(maker)).settings, own);
});

/** The maker's settings, some of it changed, as if another had made it. */
async function signedBy(key: PrivateKey, change: Partial<Settings>): Promise<Uint8Array> {
  const { key: _, ...settings } = opened.settings;
  return new Uint8Array(packSettings(await signSettings(key, { ...settings, ...change }), opened.bank));
}

function setUp(site: EdgeSite): ReturnType<typeof runCli> {
  return runCli(["setup", "--config", site.configFile, "--good", site.folder, "--proposed", "--by", "Sato"]);
}

async function take(site: EdgeSite, body: Uint8Array, confirmed = ""): Promise<SettingsRow> {
  const query = confirmed === "" ? "" : `?fingerprint=${encodeURIComponent(confirmed)}`;
  return (await pageClient(site.config)).ask(SettingsRow, "POST", `/v1/settings${query}`, { body });
}

async function refusal(site: EdgeSite, bytes: Uint8Array, confirmed = ""): Promise<KenpinError> {
  const error: unknown = await take(site, bytes, confirmed).then(
    () => assert.fail("the file was taken"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof KenpinError, String(error));
  return error;
}

async function stateOf(site: EdgeSite): Promise<PageState> {
  return (await pageClient(site.config)).ask(PageState, "GET", "/v1/state");
}

async function historyOf(site: EdgeSite): Promise<SettingsRow[]> {
  return (await pageClient(site.config)).ask(z.array(SettingsRow), "GET", "/v1/settings");
}

async function deviceKeyOf(site: EdgeSite): Promise<PrivateKey> {
  return JSON.parse(await readFile(join(site.config.dataDir, "device-key.json"), "utf8")) as PrivateKey;
}

async function verdict(site: EdgeSite) {
  const { verdicts } = site.inbox;
  const want = verdicts.length + 1;
  await site.place("line", `frame-${want}.jpg`, await drawFrame());
  await until("the verdict", () => verdicts.length >= want);
  return verdicts.at(-1) as (typeof verdicts)[number];
}

/** Another signature of the same length. */
function flipped(signature: string): string {
  return (signature.startsWith("A") ? "B" : "A") + signature.slice(1);
}
