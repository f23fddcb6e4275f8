/**
 * The package as npm packs it: installed into an empty user directory it brings all nodes and needs nothing else, and its pages are what
 * Node-RED's scorecard reads from their files (literals, an example a node, texts in both languages).
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildNodes, PACKAGE, startNodeRed } from "./node-red.ts";

type Manifest = {
  name: string;
  keywords: string[];
  engines: { node: string };
  dependencies?: object;
  "node-red": { version: string; nodes: Record<string, string> };
};
const manifest = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8")) as Manifest;
const TYPES = Object.keys(manifest["node-red"].nodes);
const LANGUAGES = ["en-US", "ja"];
const npm = (args: string[], cwd: string) =>
  execFileSync("npm", [...args, "--no-audit", "--no-fund", "--loglevel=error"], { cwd, encoding: "utf8" });
const skip = spawnSync("npm", ["--version"]).status === 0 ? false : "there is no npm on this machine";

test("npm pack carries built nodes that install into an empty user directory and register there", { skip }, async () => {
  buildNodes();
  const folder = await mkdtemp(join(tmpdir(), "kenpin-pack-"));
  try {
    const [packed] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", folder], PACKAGE)) as {
      filename: string;
      files: { path: string }[];
    }[];
    const paths = packed?.files.map(({ path }) => path) ?? [];
    assert.ok(
      paths.every((path) => /^(dist|examples)\/|^(package\.json|README.*|LICENSE.*)$/.test(path)),
      paths.join(),
    );
    await writeFile(join(folder, "package.json"), '{"private":true}');
    npm(["install", "--offline", "--ignore-scripts", join(folder, packed?.filename.replace("@kenpin/", "kenpin-") ?? "")], folder);
    assert.deepEqual(
      readdirSync(join(folder, "node_modules")).filter((name) => !name.startsWith(".")),
      ["@kenpin"],
    );
    const clean = await startNodeRed({ installed: join(folder, "node_modules/@kenpin/node-red-nodes") });
    try {
      const nodes = (await (await fetch(`${clean.url}/nodes`, { headers: { accept: "application/json" } })).json()) as {
        module: string;
        types: string[];
        err?: string;
      }[];
      const ours = nodes.filter(({ module }) => module === manifest.name);
      assert.deepEqual(ours.flatMap(({ types }) => types).sort(), [...TYPES].sort());
      assert.deepEqual(
        ours.filter(({ err }) => err),
        [],
      );
    } finally {
      await clean.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test("the package says what Node-RED's catalogue asks: a scope, the keyword, the versions, and no dependency at all", () => {
  assert.match(manifest.name, /^@[a-z]+\//);
  assert.ok(manifest.keywords.includes("node-red"));
  assert.deepEqual([manifest["node-red"].version, manifest.engines.node], [">=4.1.0", ">=22.9"]);
  assert.equal(manifest.dependencies, undefined);
});

test("every page registers its type by literals, and there is an example of each node", () => {
  const examples = readdirSync(join(PACKAGE, "examples")).map(
    (name) => JSON.parse(readFileSync(join(PACKAGE, "examples", name), "utf8")) as { type: string; info?: string }[],
  );
  for (const type of TYPES) {
    const page = readFileSync(join(PACKAGE, "src", `${type}.html`), "utf8");
    assert.match(page, new RegExp(`registerType\\("${type}", \\{\\n {4}category: "\\w+"`));
    if (type === "kenpin-link") continue;
    for (const property of [/color: "#[0-9A-F]{6}"/, /icon: "kenpin-\w+\.svg"/, /inputs: \d/, /outputs: \d/, /defaults: \{\n/])
      assert.match(page, property, type);
    assert.ok(
      examples.some((flow) => flow.some((node) => node.type === type)),
      `${type} has no example`,
    );
  }
  for (const flow of examples)
    assert.ok(
      flow.some(({ type, info = "" }) => type === "comment" && info.length > 100),
      "an example does not say what it does",
    );
});

test("both languages have the same texts, every text that a page or a status names is there, and nothing is left over", () => {
  const [english, japanese] = LANGUAGES.map((language) =>
    keysOf(JSON.parse(readFileSync(join(PACKAGE, "locales", language, "catalogue.json"), "utf8"))),
  ) as [string[], string[]];
  assert.deepEqual(japanese, english);
  const sources = readdirSync(join(PACKAGE, "src"))
    .map((name) => readFileSync(join(PACKAGE, "src", name), "utf8"))
    .join("\n");
  const named = [...sources.matchAll(/data-i18n="(?:\[\w+\])?([\w.-]+)"|_\("([\w.-]+)"\)|text: "(kenpin\.[\w.-]+)"/g)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? "",
  );
  for (const key of named) assert.ok(english.includes(key), `no text for ${key}`);
  const spelt = [...sources.matchAll(/`(kenpin[\w-]*\.[\w-]+)[.$]/g)].map(([, prefix]) => prefix ?? "");
  const made = (key: string) => spelt.some((prefix) => key.startsWith(`${prefix}.`)) || /^kenpin\.status\./.test(key);
  assert.deepEqual(
    english.filter((key) => !named.includes(key) && !made(key)),
    [],
  );
});

function keysOf(texts: object, prefix = ""): string[] {
  return Object.entries(texts)
    .flatMap(([key, value]) => (typeof value === "object" && value !== null ? keysOf(value, `${prefix}${key}.`) : [`${prefix}${key}`]))
    .sort();
}
