/**
 * What is known of each picture beside its label: a CSV file with a column `file` (or path) and any others (camera, lot, shift …).
 * In: the file, and the keys of the pictures. Out: of each key its value in each column; empty cells are left out.
 */
import { readFile } from "node:fs/promises";
import { errorLine, KenpinError } from "@kenpin/schema";
import { parse } from "csv-parse/sync";

const BYTES = 64 * 1024 ** 2;
const COLUMNS = 40;
const FILE_COLUMNS = ["file", "path", "filepath", "image"];
const VALUE_LENGTH = 200;

export async function readSliceTable(file: string, keys: ReadonlySet<string>): Promise<Map<string, Record<string, string>>> {
  const text = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new KenpinError("file-unreadable", `${file} cannot be read (${error.code}); expected a CSV file with a column file`, {
      cause: error,
    });
  });
  if (text.length > BYTES)
    throw new KenpinError("table-malformed", `${file} has more than ${BYTES / 1024 ** 2} MB; leave out what is not asked for`);
  const [header = [], ...rows] = rowsOf(file, text.toString("utf8"));
  const names = header.map((name) => name.trim());
  const place = names.findIndex((name) => FILE_COLUMNS.includes(name.toLowerCase()));
  if (place < 0)
    throw new KenpinError("table-columns", `${file} has no column file (or path); its columns are ${names.slice(0, 20).join(", ")}`);
  if (names.length - 1 > COLUMNS)
    throw new KenpinError("table-columns", `${file} has ${names.length} columns, at most ${COLUMNS + 1} are taken`);
  const table = new Map<string, Record<string, string>>();
  for (const row of rows) {
    const key = (row[place] as string).trim().replaceAll("\\", "/").replace(/^\.\//, "");
    if (!keys.has(key)) continue;
    const cells = names.flatMap((name, i) => {
      const value = (row[i] as string).trim();
      return i === place || name === "" || value === "" ? [] : [[name, value.slice(0, VALUE_LENGTH)] as const];
    });
    table.set(key, Object.fromEntries(cells));
  }
  if (table.size > 0) return table;
  const [some] = keys;
  throw new KenpinError("table-foreign", `${file} names none of the set's pictures; they are called like ${some}, as paths inside the set`);
}

function rowsOf(file: string, text: string): string[][] {
  try {
    return parse(text, { bom: true, skip_empty_lines: true });
  } catch (error) {
    throw new KenpinError("table-malformed", `${file} cannot be read as a table: ${errorLine(error).split("\n")[0]}`, { cause: error });
  }
}
