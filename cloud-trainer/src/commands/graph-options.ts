/** What `import` and `export` alike say about the graphs they write. */
import type { Command } from "commander";
import { z } from "zod";

export const GRAPH_OPTIONS = {
  graph: z.enum(["portable", "ort"]),
  patchEmbeds: z.boolean(),
  layers: z
    .string()
    .regex(/^\d+(,\d+)*$/, "block numbers from 0 with commas between, e.g. 5,8,11")
    .transform((list) => list.split(",").map(Number))
    .optional(),
};
type GraphChoice = { graph: "portable" | "ort"; patchEmbeds: boolean; layers?: number[] | undefined };

export function withGraphOptions(command: Command, preset: GraphChoice["graph"] | null): Command {
  const kinds = "portable (standard operators, opset 17) or ort (ONNX Runtime's fused operators)";
  if (preset === null) command.requiredOption("--graph <kind>", kinds);
  else command.option("--graph <kind>", kinds, preset);
  return command
    .option("--no-patch-embeds", "leave out the patches' embeddings, which `kenpin inspect` needs")
    .option("--layers <list>", "also give the tokens after these blocks, e.g. 5,8,11");
}

export function graphOf({ graph, patchEmbeds, layers = [] }: GraphChoice): {
  flavour: "portable" | "ort";
  patchEmbeds: boolean;
  layers: number[];
} {
  return { flavour: graph, patchEmbeds, layers };
}
