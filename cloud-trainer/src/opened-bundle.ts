/**
 * Opens whatever holds a model, so that an inspector can run it: a .kenpin file, a folder of a bundle's files, or a folder of weights,
 * which is staged for this with words, in float or in 8 bits. In: a path. Out: a folder with manifest.json, and what is to be known
 * of it; `close` removes what was made.
 * A .kenpin file is proven by the hub's root key, given or lying where the hub keeps it. Without one its digests are checked, its
 * signer is not: enough to measure it, never to install it.
 */
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { sha256, unpackBundle } from "@kenpin/bundle";
import { BundleManifest, errorLine, KenpinError, type PartWords, parseAtDoor, PromptSet, Thresholds } from "@kenpin/schema";
import { stageBundle } from "./bundle/stage.ts";
import { StagedManifest } from "./bundle/staged.ts";
import { openFile } from "./files.ts";
import { judgingInputs } from "./judging-inputs.ts";
import { readJsonFile } from "./json-file.ts";
import { quantizeModel } from "./quantize/quantize-model.ts";
import { goldenPictures } from "./samples/pictures.ts";
import { tarEntries } from "./samples/sets/tar-entries.ts";

export type OpenedBundle = {
  dir: string;
  kind: "bundle" | "folder" | "weights";
  name: string;
  sha256: string;
  /** Of all that decides: two bundles of the same weights may differ in words or scoring. */
  decides: string;
  precision: "fp32" | "fp16" | "int8";
  parameters: number;
  thresholds: Thresholds;
  words: { good: string[]; bad: string[] };
  /** Of a folder of weights: what can be trained on, and drawn at random. */
  weightsDir: string | null;
  warnings: string[];
  close: () => Promise<void>;
};
export type OpenOptions = {
  /** For a folder of weights. */
  words: PartWords;
  /** Of a folder of weights. */
  precision: "fp32" | "int8";
  /** The public root key, or a file that holds it. */
  rootKey?: string | undefined;
  onProgress: (line: string) => void;
};

const SEED = 1;
const CALIBRATION_PICTURES = 32;
const JUDGED = 96;
const MANIFEST_LIMIT = 1024 * 1024;
/** What a bundle may hold in one file; the same as a device takes of the whole. */
const FILE_LIMIT = 2 * 1024 ** 3;
const DECIDES = ["manifest.json", "prompts.json", "thresholds.json", "vision.onnx"];
/** An evaluation looks at releases of any age, on any machine. */
const ANY = { newestRelease: 0, agentVersion: "999.0.0" };

export async function openBundle(path: string, options: OpenOptions): Promise<OpenedBundle> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    const expected = "expected a .kenpin file, a folder of a bundle's files or a folder of weights";
    throw new KenpinError("bundle-missing", `${path} cannot be opened (${error.code}); ${expected}`, { cause: error });
  });
  const work = await mkdtemp(join(tmpdir(), "kenpin-evaluated-"));
  const close = () => rm(work, { recursive: true, force: true });
  try {
    if (found.isFile()) return { ...(await fromFile(path, join(work, "bundle"), options)), close };
    if (await isFile(join(path, "model.safetensors"))) return { ...(await fromWeights(path, work, options)), close };
    if (await isFile(join(path, "vision.onnx"))) return { ...(await described(resolve(path), "folder")), warnings: [], close };
    throw new KenpinError(
      "bundle-unknown",
      `${path} holds neither a bundle's files (vision.onnx, manifest.json) nor weights (model.safetensors, config.json); name such a folder or a .kenpin file`,
    );
  } catch (error) {
    await close();
    throw error;
  }
}

type Opened = Omit<OpenedBundle, "close">;

async function fromFile(tar: string, outDir: string, { rootKey }: OpenOptions): Promise<Opened> {
  const key = await keyOf(tar, rootKey);
  // Expiry refuses an installation; a figure of an old release is still its figure.
  if (key !== null) await unpackBundle({ tar, outDir, rootKey: key, now: new Date(0), ...ANY });
  else await unpackUnproven(tar, outDir);
  const warnings = key === null ? ["nobody has checked who signed this bundle: give --root-key to have it checked"] : [];
  return { ...(await described(outDir, "bundle")), warnings };
}

/** Where a hub writes its bundles, its root.pub lies beside in keys/. */
async function keyOf(tar: string, given: string | undefined): Promise<string | null> {
  if (given !== undefined && !(await isFile(given))) return given.trim();
  const file = given ?? join(dirname(resolve(tar)), "../keys/root.pub");
  return (await isFile(file)) ? (await readFile(file, "utf8")).trim() : null;
}

async function unpackUnproven(tar: string, outDir: string): Promise<void> {
  const { source, close } = await openFile(tar);
  try {
    const places = new Map<string, { offset: number; size: number }>();
    for await (const { name, ...place } of tarEntries(tar)) places.set(name, place);
    const read = async (name: string, limit: number) => {
      const place = places.get(name);
      if (!place || place.size > limit)
        throw new KenpinError("bundle-broken", `${tar} holds no ${name} of a bundle; expected a .kenpin file`);
      return source.read(place.offset, place.size);
    };
    const manifest = await read("manifest.json", MANIFEST_LIMIT);
    const { files } = parseAtDoor(BundleManifest, parseText(manifest), `${tar}, manifest.json`);
    await mkdir(outDir, { recursive: true });
    await writeFile(join(outDir, "manifest.json"), manifest);
    for (const [name, expected] of Object.entries(files)) {
      const data = await read(name, FILE_LIMIT);
      if (sha256(data) !== expected.sha256)
        throw new KenpinError("bundle-digest-mismatch", `${tar}: ${name} is not the file its manifest names`);
      await mkdir(dirname(join(outDir, name)), { recursive: true });
      await writeFile(join(outDir, name), data);
    }
  } finally {
    await close();
  }
}

function parseText(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new KenpinError("bundle-broken", `manifest.json is no JSON: ${errorLine(error)}`, { cause: error });
  }
}

async function fromWeights(modelDir: string, work: string, { words, precision, onProgress }: OpenOptions): Promise<Opened> {
  const int8Graph = precision === "int8" ? await inEightBits(modelDir, work, onProgress) : null;
  const dir = join(work, "staged");
  await mkdir(dir);
  const golden = await goldenPictures(SEED);
  const manifest = await stageBundle({ modelDir, words, golden, outDir: dir, ...(int8Graph && { int8Graph }) });
  await writeFile(join(dir, "manifest.json"), JSON.stringify(manifest));
  const opened = await described(dir, "weights");
  return {
    ...opened,
    name: basename(resolve(modelDir)),
    sha256: manifest.provenance[0]?.sha256 ?? opened.sha256,
    weightsDir: modelDir,
    warnings: [],
  };
}

/** As a retraining does it, but with ranges from generated pictures: those of the set are to judge. */
async function inEightBits(model: string, work: string, onProgress: (line: string) => void): Promise<string> {
  const [calibration, out] = [join(work, "calibration"), join(work, "int8")];
  await mkdir(calibration);
  for (let i = 0; i * 4 < CALIBRATION_PICTURES; i++) {
    for (const { file, png } of await goldenPictures(SEED + 1 + i)) await writeFile(join(calibration, `${i}-${basename(file)}`), png);
  }
  await quantizeModel({
    ...judgingInputs(JUDGED),
    model,
    out,
    scheme: "int8-dynamic",
    towers: ["vision"],
    calibration,
    weights: { type: "int8", bits: 7 },
    images: CALIBRATION_PICTURES,
    budget: { evaluations: 6, target: 0.997, sizeRatio: 0.3 },
    onProgress,
  });
  return join(out, "vision.onnx");
}

async function described(dir: string, kind: OpenedBundle["kind"]): Promise<Omit<Opened, "warnings">> {
  if (!(await isFile(join(dir, "manifest.json")))) {
    throw new KenpinError("manifest-missing", `${dir} has no manifest.json; save what "kenpin stage" printed there under that name`);
  }
  const file = join(dir, "manifest.json");
  const { precision, parameters } = await readJsonFile(StagedManifest.strip(), file);
  const whole = await readJsonFile(BundleManifest.pick({ name: true }).partial().strip(), file);
  const { good, bad, words = [...good, ...bad] } = await readJsonFile(PromptSet, join(dir, "prompts.json"));
  return {
    dir,
    kind,
    name: whole.name ?? basename(dir),
    sha256: sha256(await readFile(file)),
    decides: sha256(Buffer.concat(await Promise.all(DECIDES.map((part) => readFile(join(dir, part)))))),
    precision,
    parameters,
    thresholds: await readJsonFile(Thresholds, join(dir, "thresholds.json")),
    words: { good: words.slice(0, good.length), bad: words.slice(good.length) },
    weightsDir: null,
  };
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
