/** `kenpin pull` against a hub on loopback: resumed, proven by digest, with licence and revision on record. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { encodeSafetensors, shardTensors } from "@kenpin/clip";
import { seededTensors } from "../../onnx/seeded-weights.ts";
import { type HubRepo, type HubServer, startHubServer } from "./hub-server.ts";
import { goldenTower, inFolder, runKenpin } from "./seeded-checkpoint.ts";

const ID = "timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k";
const FILE = "open_clip_model.safetensors";
const { config } = goldenTower("EVA02-B-16");
const weights = encodeSafetensors(seededTensors(config));
const files = { [FILE]: weights, "README.md": new TextEncoder().encode("card"), "open_clip_config.json": new Uint8Array(9) };

test("a published model is pulled by its name and imported, with its licence and revision on the card", async () => {
  await withHub({ id: ID, files, licence: "mit" }, async (hub, dir) => {
    const pulled = await runKenpin(["pull", "EVA02-B-16", "--out", join(dir, "pulled"), "--hub-url", hub.url, "--json"]);
    assert.equal(pulled.code, 0, pulled.stderr);
    const record = JSON.parse(await readFile(join(dir, "pulled/pulled.json"), "utf8")) as unknown;
    assert.deepEqual(JSON.parse(pulled.stdout), record);
    const sha256 = createHash("sha256").update(weights).digest("hex");
    const revision = "0123456789abcdef0123456789abcdef01234567";
    assert.deepEqual(record, { id: ID, revision, licence: "mit", files: [{ path: FILE, bytes: weights.length, sha256 }] });
    assert.match(pulled.stderr, /open_clip_model\.safetensors: .* MB \(100 %\)/);
    assert.deepEqual((await readdir(join(dir, "pulled"))).sort(), [FILE, "pulled.json"]);
    await writeFile(join(dir, "config.json"), JSON.stringify(config));
    const imported = await runKenpin([
      "import",
      join(dir, "pulled"),
      "--model",
      join(dir, "config.json"),
      "--out",
      join(dir, "model"),
      "--json",
    ]);
    assert.equal(imported.code, 0, imported.stderr);
    const card = JSON.parse(imported.stdout) as { provenance: unknown };
    assert.deepEqual(card.provenance, [{ name: config.name, licence: "mit", source: `${ID}@${revision}` }]);
    const again = await runKenpin(["pull", "EVA02-B-16", "--out", join(dir, "pulled"), "--hub-url", hub.url]);
    assert.equal(again.code, 0);
    assert.equal(hub.fetched.length, 1, "a file that is there and right was fetched again");
  });
});

test("a connection that breaks is continued where it broke, not begun anew", async () => {
  await withHub({ id: ID, files }, async (hub, dir) => {
    hub.cutAfter(FILE, 300_000);
    const { code, stderr } = await runKenpin(["pull", ID, "--out", join(dir, "pulled"), "--hub-url", hub.url]);
    assert.equal(code, 0, stderr);
    assert.equal(hub.fetched.length, 2);
    assert.match(hub.fetched[1] ?? "", /bytes=300000-/);
    assert.ok((await readFile(join(dir, "pulled", FILE))).equals(Buffer.from(weights)));
  });
});

test("a pull that was killed is continued by the next one", async () => {
  await withHub({ id: ID, files }, async (hub, dir) => {
    hub.slow(40);
    const out = join(dir, "pulled");
    await killedPull(hub, out);
    const had = (await stat(join(out, `${FILE}.part`))).size;
    assert.ok(had > 0 && had < weights.length);
    hub.slow(0);
    const { code, stderr } = await runKenpin(["pull", ID, "--out", out, "--hub-url", hub.url]);
    assert.equal(code, 0, stderr);
    assert.equal(hub.fetched[1], `${FILE} bytes=${had}-${weights.length - 1}`);
    assert.ok((await readFile(join(out, FILE))).equals(Buffer.from(weights)));
  });
});

test("a file that is not what the hub names is thrown away and said so", async () => {
  await withHub({ id: ID, files }, async (hub, dir) => {
    const out = join(dir, "pulled");
    await mkdir(out);
    await writeFile(join(out, `${FILE}.part`), new Uint8Array(1000));
    await writeFile(join(out, `${FILE}.part.revision`), "0123456789abcdef0123456789abcdef01234567");
    const { code, stderr } = await runKenpin(["pull", ID, "--out", out, "--hub-url", hub.url]);
    assert.equal(code, 1);
    assert.match(stderr, /has sha256 .*, the hub names .* \[digest-mismatch\]/);
    assert.ok(!(await readdir(out)).some((name) => name.startsWith(FILE) && !name.endsWith(".revision")));
  });
});

test("half a file of another revision is not continued", async () => {
  await withHub({ id: ID, files }, async (hub, dir) => {
    const out = join(dir, "pulled");
    await mkdir(out);
    await writeFile(join(out, `${FILE}.part`), new Uint8Array(1000));
    await writeFile(join(out, `${FILE}.part.revision`), "another");
    assert.equal((await runKenpin(["pull", ID, "--out", out, "--hub-url", hub.url])).code, 0);
    assert.deepEqual(hub.fetched, [`${FILE} all`]);
  });
});

test("a gated model needs a token, which never shows in what the command says or writes", async () => {
  const token = "hf_secretsecretsecret";
  await withHub({ id: ID, files, token }, async (hub, dir) => {
    const args = ["pull", ID, "--out", join(dir, "pulled"), "--hub-url", hub.url];
    const without = await runKenpin(args, { HF_TOKEN: "" });
    assert.equal(without.code, 1);
    assert.match(without.stderr, /the hub refused \(401\); set HF_TOKEN/);
    const wrong = await runKenpin(args, { HF_TOKEN: "hf_wrongwrongwrong" });
    assert.doesNotMatch(wrong.stderr + wrong.stdout, /wrongwrong/);
    const right = await runKenpin(args, { HF_TOKEN: token });
    assert.equal(right.code, 0, right.stderr);
    const written = await readFile(join(dir, "pulled/pulled.json"), "utf8");
    assert.doesNotMatch(right.stderr + right.stdout + written, /secretsecret/);
  });
});

test("a model in several files is pulled whole, by its index", async () => {
  const tensors = seededTensors(config);
  const { index, files: parts } = shardTensors(new Map([...tensors].map(([name, { shape }]) => [name, shape])), 1_000_000);
  const shards = Object.fromEntries(
    [...parts].map(([file, part]) => [file, encodeSafetensors(new Map([...tensors].filter(([name]) => part.has(name))))]),
  );
  const repo = { ...shards, "model.safetensors.index.json": new TextEncoder().encode(JSON.stringify(index)) };
  await withHub({ id: "someone/sharded", files: repo }, async (hub, dir) => {
    const { code, stderr } = await runKenpin(["pull", "someone/sharded", "--out", join(dir, "pulled"), "--hub-url", hub.url]);
    assert.equal(code, 0, stderr);
    assert.deepEqual((await readdir(join(dir, "pulled"))).sort(), [...Object.keys(repo), "pulled.json"].sort());
  });
});

test("an unknown name, an unknown model and several checkpoints each get one clear line", async () => {
  await withHub({ id: "someone/many", files: { "a.pt": new Uint8Array(9), "b.pt": new Uint8Array(9) } }, async (hub, dir) => {
    for (const [model, expected] of [
      ["EVA02-B-17", /"EVA02-B-17" is no hub id \(owner\/name\) and no published model; known: EVA01-g-14/],
      ["someone/else", /the hub knows no such model or revision/],
      ["someone/many", /holds 2 checkpoints \(a\.pt, b\.pt\); choose one with --file/],
    ] as const) {
      const { code, stderr } = await runKenpin(["pull", model, "--out", join(dir, "pulled"), "--hub-url", hub.url]);
      assert.equal(code, 1);
      assert.match(stderr, expected);
      assert.equal(stderr.trim().split("\n").length, 1);
    }
    assert.equal((await runKenpin(["pull", "someone/many", "--file", "b.pt", "--out", join(dir, "pulled"), "--hub-url", hub.url])).code, 0);
  });
});

async function withHub(repo: HubRepo, use: (hub: HubServer, dir: string) => Promise<void>): Promise<void> {
  const hub = await startHubServer(repo);
  try {
    await inFolder((dir) => use(hub, dir));
  } finally {
    await hub.close();
  }
}

/** Ends the process by SIGKILL once half a megabyte has arrived. */
async function killedPull(hub: HubServer, out: string): Promise<void> {
  const cli = join(import.meta.dirname, "../../../cloud-trainer/src/cli.ts");
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  const child = spawn(process.execPath, [...flags, cli, "pull", ID, "--out", out, "--hub-url", hub.url], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("close", resolve));
  for (;;) {
    const size = await stat(join(out, `${FILE}.part`)).then(
      (info) => info.size,
      () => 0,
    );
    if (size > 500_000) break;
    assert.equal(child.exitCode, null, "the pull ended before it could be killed");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  child.kill("SIGKILL");
  await ended;
}
