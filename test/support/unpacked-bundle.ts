/** The small test bundle as a device has it: unpacked and proven. */
import { unpackBundle } from "@kenpin/bundle";
import { testBundle } from "./test-bundle.ts";

export async function unpackedTestBundle(outDir: string): Promise<string> {
  const { file, signer } = await testBundle();
  await unpackBundle({ tar: file, outDir, rootKey: signer.rootKey, now: new Date(), newestRelease: 0, agentVersion: "99.0.0" });
  return outDir;
}
