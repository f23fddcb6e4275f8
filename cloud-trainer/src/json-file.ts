/** A JSON file at the door: read, parsed and checked by a schema, or one line that names the file and what is wrong with it. */
import { readFile } from "node:fs/promises";
import { errorLine, KenpinError, parseAtDoor } from "@kenpin/schema";
import type { z } from "zod";

export async function readJsonFile<S extends z.ZodType>(schema: S, file: string): Promise<z.infer<S>> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new KenpinError("file-unreadable", `${file} is not readable JSON: ${errorLine(error)}`, { cause: error });
  }
  return parseAtDoor(schema, value, file);
}
