/** How the agent starts, or refuses to with one clear line: bundles, configuration, a second agent on the same data. */
import assert from "node:assert/strict";
import { readFile, truncate, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { createSigner, drawFrame, type TestBundle, testBundle } from "../support/test-bundle.ts";
import { type EdgeSite, openSite, runCli, until } from "./edge-site.ts";

test("a foreign, truncated, tampered or unproven first bundle ends the start with one line", async () => {
  const own = await testBundle();
  const truncated = await testBundle();
  await truncate(truncated.file, 100_000);
  const tampered = await testBundle();
  const bytes = await readFile(tampered.file);
  bytes[100_000] = (bytes[100_000] as number) ^ 1;
  await writeFile(tampered.file, bytes);
  const cases: [name: string, bundle: TestBundle, code: string][] = [
    ["foreign", await testBundle({ signer: await createSigner() }), "signature-invalid"],
    ["truncated", truncated, "bundle-broken"],
    ["tampered", tampered, "bundle-digest-mismatch"],
    ["no model", await testBundle({ brokenModel: true }), "model-unreadable"],
    ["other scores", await testBundle({ goldenOff: -0.3 }), "golden-mismatch"],
    ["run out", await testBundle({ expiresAt: new Date(Date.now() - 1000).toISOString() }), "bundle-expired"],
  ];
  for (const [name, bundle, code] of cases) {
    await onSite(bundle, async (site) => {
      await writeFile(site.configFile, JSON.stringify({ ...site.config, rootKey: own.signer.rootKey }));
      const { code: exit, stderr } = await runCli(["run", "--config", site.configFile]);
      assert.notEqual(exit, 0, name);
      assert.match(stderr, new RegExp(`^kenpin-agent: .*\\[${code}\\]\\n$`), `${name}: ${stderr}`);
    });
  }
});

test("after a refused first bundle the same data folder starts with a good one", async () => {
  const good = await testBundle();
  await onSite(good, async (site) => {
    await writeFile(site.configFile, JSON.stringify({ ...site.config, bundle: (await testBundle({ goldenOff: -0.3 })).file }));
    assert.notEqual((await runCli(["run", "--config", site.configFile])).code, 0);
    await writeFile(site.configFile, JSON.stringify(site.config));
    await site.startAgent();
    await until("a report", () => site.inbox.reported.at(-1)?.state === "running");
    assert.equal(site.inbox.reported.at(-1)?.digest, good.digest);
  });
});

test("a misspelt key in the configuration is named with the nearest right one", async () => {
  await onSite(await testBundle(), async (site) => {
    const { dataDir, ...rest } = site.config;
    await writeFile(site.configFile, JSON.stringify({ ...rest, datadir: dataDir }));
    for (const command of ["run", "check"]) {
      const { code, stderr } = await runCli([command, "--config", site.configFile]);
      assert.equal(code, 1);
      assert.match(stderr, /^kenpin-agent: .*unknown key "datadir", did you mean "dataDir"\?.*\n$/);
    }
    await writeFile(
      site.configFile,
      JSON.stringify({ ...site.config, cameras: site.config.cameras.map((camera) => ({ ...camera, evidense: "none" })) }),
    );
    assert.match((await runCli(["check", "--config", site.configFile])).stderr, /unknown key "evidense", did you mean "evidence"\?/);
  });
});

test("a second agent on the same data folder is told who holds it, and a lock left by a kill holds nobody", async () => {
  await onSite(await testBundle(), async (site) => {
    const agent = await site.startAgent();
    const { code, stderr } = await runCli(["run", "--config", site.configFile]);
    assert.equal(code, 1);
    assert.match(stderr, /^kenpin-agent: another agent \(process \d+\) runs on .*\[data-in-use\]\n$/);
    await agent.kill();
    await site.startAgent();
  });
});

test("status tells what the data folder holds while the agent runs, and verify proves a bundle", async () => {
  await onSite(await testBundle(), async (site) => {
    await site.startAgent();
    await site.place("line", "one.jpg", await drawFrame());
    await until("a verdict", () => site.inbox.verdicts.length === 1);
    const standing = JSON.parse((await runCli(["status", "--config", site.configFile, "--json"])).stdout);
    assert.equal(standing.bundle, site.bundle.digest);
    assert.equal(standing.references, 0);
    const proof = await runCli(["verify", site.bundle.file, "--root-key", site.config.rootKey, "--json"]);
    assert.equal(JSON.parse(proof.stdout).digest, site.bundle.digest);
    const foreign = await runCli(["verify", site.bundle.file, "--root-key", (await createSigner()).rootKey]);
    assert.equal(foreign.code, 1);
    assert.match(foreign.stderr, /signature-invalid/);
  });
});

async function onSite(bundle: TestBundle, work: (site: EdgeSite) => Promise<void>): Promise<void> {
  const site = await openSite({ bundle });
  try {
    await work(site);
  } finally {
    await site.close();
  }
}
