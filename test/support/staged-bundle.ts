/** The files of a real small bundle as a trainer leaves them: a folder nobody signed, and what its manifest will say. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { unpackBundle } from "@kenpin/bundle";
import { StagedManifest } from "../../cloud-trainer/src/bundle/staged.ts";
import { testBundle } from "./test-bundle.ts";

export async function stageTestBundle(outDir: string): Promise<StagedManifest> {
  const { file, signer } = await testBundle();
  const options = { tar: file, outDir, rootKey: signer.rootKey, now: new Date(), newestRelease: 0, agentVersion: "99.0.0" };
  const { manifest } = await unpackBundle(options);
  for (const name of ["manifest.json", "manifest.jws", "keys.jws"]) await rm(join(outDir, name));
  return StagedManifest.strip().parse(manifest);
}
