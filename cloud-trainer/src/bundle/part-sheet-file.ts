/** A part sheet as people write it: one YAML file. A misspelt key is refused by name, with the nearest right one. */
import { readFile, stat } from "node:fs/promises";
import { errorLine, KenpinError, PartSheet, parseAtDoor } from "@kenpin/schema";
import { parse } from "yaml";

/** Sixty-four states of each kind and a glossary of its own take 30 kB. */
const LIMIT_BYTES = 256 * 1024;

export async function readPartSheet(file: string): Promise<PartSheet> {
  const found = await stat(file).catch((cause: unknown) => {
    const hint = "name a part sheet, a YAML file with part and object at least";
    throw new KenpinError("part-sheet-missing", `${file} cannot be read (${errorLine(cause)}); ${hint}`, { cause });
  });
  if (!found.isFile()) throw new KenpinError("part-sheet-missing", `${file} is no file; name a part sheet, a YAML file`);
  if (found.size > LIMIT_BYTES)
    throw new KenpinError("part-sheet-too-large", `${file} has ${found.size} bytes, at most ${LIMIT_BYTES} are read`);
  return parsePartSheet(await readFile(file, "utf8"), file);
}

function parsePartSheet(text: string, what: string): PartSheet {
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 100 });
  } catch (error) {
    throw new KenpinError("part-sheet-unreadable", `${what} is no YAML: ${errorLine(error).split("\n")[0]}`, { cause: error });
  }
  return parseAtDoor(PartSheet, value, what);
}
