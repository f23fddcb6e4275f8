/** Builds the agent's page into edge-agent/dist-web. */
import { join } from "node:path";
import { buildPage } from "@kenpin/page/build";

await buildPage(import.meta.dirname, join(import.meta.dirname, "../dist-web"));
