/**
 * Builds a program's page with esbuild. In: its web folder with src/main.tsx and main.css, and where the page goes.
 * Out: index.html, icon.svg, main.js and main.css there.
 */
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

export async function buildPage(web: string, out: string): Promise<void> {
  await mkdir(out, { recursive: true });
  await build({
    entryPoints: ["src/main.tsx", "main.css"].map((name) => ({ in: join(web, name), out: "main" })),
    outdir: out,
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
  for (const name of ["index.html", "icon.svg"]) await copyFile(join(import.meta.dirname, name), join(out, name));
}
