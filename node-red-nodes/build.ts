/**
 * Builds the package as Node-RED takes it, in dist: one CommonJS bundle of all nodes with what they import, and for each node the
 * small file that Node-RED loads, its editor page, its texts and help in each language, and its icon. The bundle carries other people's
 * code, so their licences stand beside it.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build, type Metafile } from "esbuild";

const HERE = import.meta.dirname;
const OUT = join(HERE, "dist");
const LANGUAGES = ["en-US", "ja"];
/** Texts that every node shows. */
const SHARED = "kenpin";

const { "node-red": nodeRed } = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8")) as { "node-red": { nodes: object } };

rmSync(OUT, { recursive: true, force: true });
mkdirSync(join(OUT, "icons"), { recursive: true });
const { metafile } = await build({
  entryPoints: [join(HERE, "src/index.ts")],
  outfile: join(OUT, "nodes.js"),
  bundle: true,
  format: "cjs",
  platform: "node",
  target: "node22.9",
  conditions: ["kenpin-source"],
  external: ["bufferutil", "utf-8-validate"], // native, and optional to ws
  absWorkingDir: join(HERE, ".."),
  metafile: true,
  logLevel: "warning",
});
writeFileSync(join(OUT, "package.json"), '{ "type": "commonjs" }\n');
copyFileSync(join(HERE, "../LICENSE"), join(OUT, "LICENSE"));
writeFileSync(join(OUT, "THIRD-PARTY-LICENSES.txt"), licences(metafile));
for (const type of Object.keys(nodeRed.nodes)) {
  writeFileSync(join(OUT, `${type}.js`), `"use strict";\nmodule.exports = require("./nodes.js").nodes["${type}"];\n`);
  copyFileSync(join(HERE, "src", `${type}.html`), join(OUT, `${type}.html`));
  for (const language of LANGUAGES) writeTexts(type, language);
}
for (const icon of readdirSync(join(HERE, "icons"))) copyFileSync(join(HERE, "icons", icon), join(OUT, "icons", icon));

/** Node-RED looks for a node's texts in a file of its name. */
function writeTexts(type: string, language: string): void {
  const [from, to] = [join(HERE, "locales", language), join(OUT, "locales", language)];
  const catalogue = JSON.parse(readFileSync(join(from, "catalogue.json"), "utf8")) as Record<string, unknown>;
  mkdirSync(to, { recursive: true });
  writeFileSync(join(to, `${type}.json`), JSON.stringify({ [SHARED]: catalogue[SHARED], [type]: catalogue[type] }));
  copyFileSync(join(from, `${type}.html`), join(to, `${type}.html`));
}

function licences({ inputs }: Metafile): string {
  const names = Object.keys(inputs).map((file) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1]);
  const bundled = [...new Set(names.filter((name) => name !== undefined))].sort();
  return bundled.map((name) => `${name}\n${"=".repeat(name.length)}\n\n${licenceOf(join(HERE, "../node_modules", name))}\n`).join("\n\n");
}

function licenceOf(folder: string): string {
  const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
  if (file && existsSync(join(folder, file))) return readFileSync(join(folder, file), "utf8").trim();
  const { license, author } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { license?: string; author?: unknown };
  return `${license ?? "no licence named"}, by ${typeof author === "string" ? author : JSON.stringify(author ?? "its authors")}`;
}
