/**
 * A set as folders: MVTec AD's layout (train/good, test/<kind>, ground_truth/<kind>/<name>_mask.png; Bergmann et al. 2019)
 * or flat (good/, <kind>/), or a folder of pictures that nobody has labelled.
 * A folder between the kind and the picture is its group: good/lot-17/001.png belongs to lot-17.
 */
import { basename, join } from "node:path";
import { KenpinError } from "@kenpin/schema";
import { openPlace, type Picture, type PictureSet, pictureSet, type ReadOptions, readPlace } from "../picture.ts";
import { entriesOf, isPictureName, walkFiles } from "./folder-walk.ts";
import { type Kind, kindOfFolder, labelOf } from "./label-words.ts";

const TRUTH = "ground_truth";
const SPLITS = ["train", "test"] as const;
type Branch = Kind & { folder: string; truth: string | null; split: Picture["split"] };
type Found = Branch & { path: string };

/** Whether the folders' names say what is good. */
export function isLaidOut(folders: string[]): boolean {
  return folders.some((folder) => SPLITS.includes(folder as "train") || labelOf(folder) === "good");
}

/** Null where the folder is laid out in none of these ways. */
export async function readFolder(root: string, options: ReadOptions): Promise<PictureSet | null> {
  const { folders, files } = await entriesOf(root);
  const branches = await branchesOf(root, folders, files);
  if (!branches) return null;
  const masks = await masksOf(root, folders);
  const found: Found[] = [];
  const skipped: string[] = [];
  for (const branch of branches) {
    for await (const path of branch.folder === "" ? files : walkFiles(root, branch.folder)) {
      if (isPictureName(path)) found.push({ ...branch, path });
      else skipped.push(path);
    }
  }
  const pictures: Picture[] = [];
  for (const [i, one] of found.entries()) {
    options.signal?.throwIfAborted();
    pictures.push(await pictureAt(root, one, masks));
    options.onProgress?.(i + 1, found.length);
  }
  const filled = new Set(found.map(({ folder }) => folder));
  const emptyKinds = branches.map(({ folder }) => folder).filter((folder) => !filled.has(folder));
  return pictureSet({ name: basename(root), root, pictures, skipped, emptyKinds });
}

async function branchesOf(root: string, folders: string[], files: string[]): Promise<Branch[] | null> {
  const splits = SPLITS.filter((split) => folders.includes(split));
  if (splits.length > 0) return (await Promise.all(splits.map((split) => splitBranches(root, split)))).flat();
  if (folders.some((folder) => labelOf(folder) === "good")) {
    return folders
      .filter((folder) => folder !== TRUTH)
      .map((folder) => ({ ...kindOfFolder(folder), folder, truth: `${TRUTH}/${folder}`, split: null }));
  }
  if (files.some(isPictureName)) return [{ label: null, defect: null, folder: "", truth: null, split: null }];
  return null;
}

async function splitBranches(root: string, split: "train" | "test"): Promise<Branch[]> {
  const { folders } = await entriesOf(join(root, split));
  return folders.map((kind) => ({ ...kindOfFolder(kind), folder: `${split}/${kind}`, truth: `${TRUTH}/${kind}`, split }));
}

async function masksOf(root: string, folders: string[]): Promise<Map<string, string>> {
  const masks = new Map<string, string>();
  if (!folders.includes(TRUTH)) return masks;
  // Without the ending: pictures are often JPEG where their masks are PNG.
  for await (const path of walkFiles(root, TRUTH)) if (isPictureName(path)) masks.set(stem(path), path);
  return masks;
}

async function pictureAt(root: string, { path, folder, truth, label, defect, split }: Found, masks: Map<string, string>): Promise<Picture> {
  const inside = folder === "" ? path : path.slice(folder.length + 1);
  const maskPath = truth === null || label === "good" ? undefined : maskOf(stem(`${truth}/${inside}`), masks);
  const mask = maskPath === undefined ? null : () => readPlace({ file: join(root, maskPath), name: maskPath });
  const group = inside.includes("/") ? (inside.split("/")[0] as string) : null;
  const placed = await openPlace({ file: join(root, path), name: path });
  return { key: path, ...placed, label, defect, captions: [], mask, group, split, reason: null, drawProbability: null };
}

/** MVTec AD names a mask <name>_mask, VisA and others simply <name>. */
function maskOf(bare: string, masks: Map<string, string>): string | undefined {
  return masks.get(`${bare}_mask`) ?? masks.get(bare);
}

/** Some systems write Japanese names decomposed: a picture and its mask may come from two of them. */
function stem(path: string): string {
  return path.normalize("NFC").replace(/\.[^./]+$/, "");
}

/** What a folder that is no set holds, so that the error can name what to open instead. */
export async function describeFolder(root: string): Promise<KenpinError> {
  const { folders, files } = await entriesOf(root);
  const expected = "expected train/ and test/, or good/ and one folder a kind of defect, pictures, a table (.csv, .tsv), or shards (.tar)";
  if (folders.length + files.length === 0) return new KenpinError("set-empty", `${root} is an empty folder; ${expected}`);
  const inner = await Promise.all(folders.slice(0, 50).map(async (folder) => ({ folder, ...(await entriesOf(join(root, folder))) })));
  const sets = inner.filter((one) => one.folders.some((name) => name === "train" || labelOf(name) === "good")).map(({ folder }) => folder);
  if (sets.length > 0) {
    return new KenpinError("set-unknown", `${root} holds several sets (${sets.slice(0, 5).join(", ")}); open one of them`);
  }
  const seen = [...folders.map((folder) => `${folder}/`), ...files].slice(0, 5).join(", ");
  return new KenpinError("set-unknown", `${root} is no set of pictures; ${expected}; it holds ${seen}`);
}
