/**
 * A set as a table: a CSV or TSV file whose rows name pictures that lie beside or below it. Rows of the same picture add
 * captions to it. Read as a stream, so that only what is kept of the pictures is held in memory.
 * Columns: path (or filepath, file, image), caption (title, text), label, defect, group (or lot, part, day, camera), split,
 * mask, probability (the chance of a random draw), reason; all but the path may be absent. `filepath` and `title` are open_clip's.
 */
import { createReadStream } from "node:fs";
import { open, realpath } from "node:fs/promises";
import { basename, dirname, relative, resolve, sep } from "node:path";
import { pipeline } from "node:stream";
import { KenpinError, parseAtDoor, Probability } from "@kenpin/schema";
import { CsvError, parse } from "csv-parse";
import { z } from "zod";
import { openPlace, type Picture, type PictureSet, pictureSet, type ReadOptions, readPlace } from "../picture.ts";
import { isUnknown, labelOf } from "./label-words.ts";

/** A caption is a sentence; a row of megabytes is a wrong quotation mark. */
const RECORD_LIMIT = 64 * 1024;
const ROWS = 10_000_000;
const CAPTIONS_EACH = 1000;

type Column = "path" | "caption" | "label" | "defect" | "group" | "split" | "mask" | "probability" | "reason";
const ALIASES: Record<Column, readonly string[]> = {
  path: ["path", "filepath", "file", "filename", "image"],
  caption: ["caption", "title", "text"],
  label: ["label"],
  defect: ["defect", "kind"],
  group: ["group", "lot", "part", "day", "camera"],
  split: ["split"],
  mask: ["mask"],
  probability: ["probability", "drawprobability", "draw_probability"],
  reason: ["reason"],
};

const text = z.string().max(RECORD_LIMIT).default("");
const Row = z.strictObject({
  path: z.string().min(1, "the path is empty").max(4096),
  caption: text,
  label: text.refine(
    (word) => labelOf(word) !== null || isUnknown(word),
    "expected good, bad or nothing; the kind of defect has its own column",
  ),
  defect: text,
  group: text,
  split: z.enum(["train", "test", ""], "expected train, test or nothing").default(""),
  mask: text,
  probability: z
    .literal("")
    .or(z.coerce.number().pipe(Probability.gt(0)))
    .default(""),
  reason: z.enum(["random", "chosen", ""], "expected random, chosen or nothing").default(""),
});
type Row = z.infer<typeof Row>;

export type TableOptions = ReadOptions & {
  /** The column that must not be split, where there are several. */
  by?: string | undefined;
};

export async function readTable(file: string, options: TableOptions): Promise<PictureSet> {
  const root = await realpath(dirname(file));
  const pictures = new Map<string, Picture>();
  let row = 1; // the header
  for await (const record of records(file, options.by)) {
    options.signal?.throwIfAborted();
    if (++row > ROWS) throw new KenpinError("set-too-large", `${file} has more than ${ROWS} rows; make several tables of it`);
    const where = `${basename(file)}, row ${row}`;
    await addRow(parseAtDoor(Row, record, where), where, root, pictures);
    options.onProgress?.(row - 1, null);
  }
  return pictureSet({ name: basename(file).replace(/\.[^.]+$/, ""), root, pictures: [...pictures.values()] });
}

async function addRow(row: Row, where: string, root: string, pictures: Map<string, Picture>): Promise<void> {
  // A path that was taken once need not be looked up again: a table has many rows of one picture.
  const plain = relative(root, resolve(root, row.path));
  const path = pictures.has(plain) ? plain : await pathInside(root, row.path, where);
  const known = pictures.get(path);
  const captions = row.caption.trim() === "" ? [] : [row.caption.trim()];
  if (!known) {
    pictures.set(path, { ...(await pictureOf(row, path, root, where)), captions });
    return;
  }
  const [label, defect] = [labelOf(row.label), row.defect || null];
  if (label !== known.label || defect !== known.defect) {
    const saidFirst = [known.label ?? "no label", known.defect ?? "no defect"].join(", ");
    throw new KenpinError("set-contradicts", `${where} labels ${path} otherwise than a row before it (${saidFirst}); say the same in both`);
  }
  if (known.captions.length >= CAPTIONS_EACH) {
    throw new KenpinError("set-too-large", `${where}: ${path} has more than ${CAPTIONS_EACH} captions; leave some out`);
  }
  known.captions.push(...captions);
}

async function pictureOf(row: Row, path: string, root: string, where: string): Promise<Omit<Picture, "captions">> {
  const maskPath = row.mask === "" ? null : await pathInside(root, row.mask, where);
  const probability = row.probability === "" ? null : row.probability;
  return {
    key: path,
    ...(await openPlace({ file: resolve(root, path), name: path })),
    label: labelOf(row.label),
    defect: row.defect || null,
    mask: maskPath === null ? null : () => readPlace({ file: resolve(root, maskPath), name: maskPath }),
    group: row.group || null,
    split: row.split || null,
    // A probability alone says that chance drew it: nobody writes one down for what was picked.
    reason: row.reason || (probability === null ? null : "random"),
    drawProbability: probability,
  };
}

/** The path below the table's folder, however it was written; a path that leads out of it is refused, by a link too. */
async function pathInside(root: string, said: string, where: string): Promise<string> {
  if (/^[a-z]+:\/\//i.test(said))
    throw new KenpinError("set-path-remote", `${where} names an address (${said}); download it and name the file`);
  const asked = resolve(root, said.replaceAll("\\", "/"));
  const real = await realpath(asked).catch((error: NodeJS.ErrnoException) => {
    throw new KenpinError(
      "picture-missing",
      `${where} names ${said}, which is not there (${error.code}); paths begin at the table's folder`,
    );
  });
  const path = relative(root, real);
  if (path === "" || path.startsWith(`..${sep}`) || path === ".." || resolve(root, path) !== asked) {
    throw new KenpinError("set-path-outside", `${where} names ${said}, which leads out of the table's folder; put the picture below it`);
  }
  return path.replaceAll(sep, "/");
}

async function* records(file: string, by: string | undefined): AsyncGenerator<Record<string, string>> {
  const delimiter = await delimiterOf(file);
  const parser = parse({
    delimiter,
    bom: true,
    columns: (header: string[]) => columnsOf(header, file, by),
    skip_empty_lines: true,
    max_record_size: RECORD_LIMIT,
    trim: true,
    // open_clip's tab-separated files hold captions with quotation marks as they are.
    relax_quotes: delimiter === "\t",
  });
  // Whatever fails on the way comes out of the loop below; a loop that is left early stops the file too.
  pipeline(
    createReadStream(file),
    (chunks: AsyncIterable<Uint8Array>) => decoded(chunks, file),
    parser,
    () => undefined,
  );
  try {
    for await (const record of parser) yield record;
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new KenpinError("table-malformed", `${file} cannot be read as a table: ${error.message.split("\n")[0]}`, { cause: error });
  }
}

/** Bytes that are no UTF-8 would become names of files that do not exist. */
async function* decoded(chunks: AsyncIterable<Uint8Array>, file: string): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  try {
    for await (const chunk of chunks) yield decoder.decode(chunk, { stream: true });
    yield decoder.decode();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new KenpinError("table-malformed", `${file} is no UTF-8 text; save it as "CSV UTF-8"`, { cause: error });
  }
}

async function delimiterOf(file: string): Promise<"," | "\t"> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(RECORD_LIMIT), 0, RECORD_LIMIT, 0);
    const header = buffer.toString("utf8", 0, bytesRead).split("\n", 1)[0] ?? "";
    return header.includes("\t") ? "\t" : ",";
  } finally {
    await handle.close();
  }
}

/** For each column of the file what it is here, or false where it is none of ours. */
function columnsOf(header: string[], file: string, by: string | undefined): (Column | false)[] {
  const names = header.map((name) => name.trim().toLowerCase());
  const columns = new Array<Column | false>(names.length).fill(false);
  for (const [column, aliases] of Object.entries(ALIASES) as [Column, readonly string[]][]) {
    const wanted = column === "group" && by !== undefined ? [by.toLowerCase()] : aliases;
    const place = names.indexOf(wanted.find((alias) => names.includes(alias)) ?? "");
    if (place >= 0) columns[place] = column;
  }
  const asked = by === undefined ? "path" : columns.includes("group") ? "path" : by;
  if (columns.includes("path") && asked === "path") return columns;
  const wanted = asked === "path" ? `path (or ${ALIASES.path.slice(1).join(", ")})` : asked;
  throw new KenpinError("table-columns", `${file} has no column ${wanted}; its columns are ${header.slice(0, 20).join(", ")}`);
}
