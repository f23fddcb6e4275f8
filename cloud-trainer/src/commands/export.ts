/** `kenpin export`: the same model with another graph; its weights come from the folder's own ONNX files. */
import { parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";
import { GRAPH_OPTIONS, graphOf, withGraphOptions } from "./graph-options.ts";

const Options = z.strictObject({ model: z.string().min(1), out: z.string().min(1), ...GRAPH_OPTIONS });

export function exportCommand(): Command {
  const command = new Command("export")
    .description("write a model folder again with another kind of graph or other outputs")
    .requiredOption("--model <dir>", "folder of `kenpin import`")
    .requiredOption("--out <dir>", "new folder");
  return withGraphOptions(command, null).action(async (given: unknown) => {
    const { model, out, ...graph } = parseAtDoor(Options, given, "kenpin export");
    const { exportModel } = await import("../import/export-model.ts");
    const card = await exportModel({ from: model, out, graph: graphOf(graph) });
    process.stdout.write(`${out}: ${card.name}, ${card.graph.flavour} graphs\n`);
  });
}
