/** A model folder written again with other graphs: same weights, byte for byte, other nodes or outputs. */
import { wholeFolder } from "../files.ts";
import { type ModelCard, readModelFolder, writeDescription } from "./model-folder.ts";
import { type GraphOptions, writeFromFolder } from "./write-graphs.ts";

export type ExportOptions = { from: string; out: string; graph: GraphOptions; limitBytes?: number };

export async function exportModel({ from, out, graph, limitBytes }: ExportOptions): Promise<ModelCard> {
  const { config, card: old } = await readModelFolder(from);
  const card: ModelCard = { ...old, graph };
  await wholeFolder(out, async (folder) => {
    await writeFromFolder(folder, { config, graph, from, ...(limitBytes !== undefined && { limitBytes }) });
    await writeDescription(folder, config, card);
  });
  return card;
}
