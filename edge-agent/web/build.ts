/** Builds the agent's page: web/src into edge-agent/dist-web (index.html, main.js, main.css), with esbuild. */
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const OUT = join(import.meta.dirname, "../dist-web");

await mkdir(OUT, { recursive: true });
await build({
  entryPoints: [join(import.meta.dirname, "src/main.tsx")],
  outfile: join(OUT, "main.js"),
  bundle: true,
  minify: true,
  sourcemap: false,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  conditions: ["kenpin-source"],
  logLevel: "warning",
});
for (const name of ["index.html", "main.css", "icon.svg"]) await copyFile(join(import.meta.dirname, name), join(OUT, name));
