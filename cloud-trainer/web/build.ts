/** Builds the operator's page into cloud-trainer/dist-web. */
import { join } from "node:path";
import { buildPage } from "@kenpin/page/build";

await buildPage(import.meta.dirname, join(import.meta.dirname, "../dist-web"));
