/** The agent's version, from its package.json, which lies above both the sources and the compiled files. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const PACKAGE = JSON.parse(readFileSync(join(import.meta.dirname, "../package.json"), "utf8")) as { version: string };

export const AGENT_VERSION = PACKAGE.version;
