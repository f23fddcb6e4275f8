/**
 * From the names in a published checkpoint to the names used here, which are open_clip's.
 * open_clip and BAAI (github.com/baaivision/EVA) name the same tensors differently, and trainers put "module." in front.
 * A checkpoint fits a configuration when nothing is missing and nothing is left over, or the error lists both.
 */
import { KenpinError } from "@kenpin/schema";
import { type Checkpoint, shown } from "./checkpoint.ts";
import { type ModelConfig, tensorShapes } from "./model-config.ts";
import { resamplePatches, resamplePositions } from "./resample.ts";

export const TRUNK = "visual.trunk.";
const POSITIONS = `${TRUNK}pos_embed`;
const PATCHES = `${TRUNK}patch_embed.proj.weight`;
/** How many names of each kind an error lists. */
const LISTED = 24;
/** BAAI's names within a block of EVA-02's B and L; w3(LN(SiLU(w1 x) · w2 x)). */
const BLOCK_NAMES: [RegExp, string][] = [
  [/\.attn\.([qv])_bias$/, ".attn.$1_proj.bias"],
  [/\.attn\.inner_attn_ln\./, ".attn.norm."],
  [/\.mlp\.w1\./, ".mlp.fc1_g."],
  [/\.mlp\.w2\./, ".mlp.fc1_x."],
  [/\.mlp\.w3\./, ".mlp.fc2."],
  [/\.mlp\.ffn_ln\./, ".mlp.norm."],
];

/** The checkpoint under this project's names and in this configuration's shapes. */
export type FittedCheckpoint = {
  /** Whose names the file uses. */
  naming: "open_clip" | "baai";
  /** What was changed on the way, for the card; empty when nothing was. */
  changes: string[];
  tensor: (name: string) => Promise<Float32Array>;
};

export function fitCheckpoint(checkpoint: Checkpoint, config: ModelConfig): FittedCheckpoint {
  const expected = tensorShapes(config);
  const { naming, names } = ourNames(checkpoint.names, config);
  refuseMismatch(expected, names, config.name);
  return { naming, ...inShape(checkpoint, expected, names, config) };
}

/** Tensors by our names, resampled where positions or patches are of another size; `names` leads from ours to the file's. */
export function inShape(
  checkpoint: Checkpoint,
  expected: ReadonlyMap<string, number[]>,
  names: ReadonlyMap<string, string>,
  config: ModelConfig,
): Pick<FittedCheckpoint, "changes" | "tensor"> {
  const changes: string[] = [];
  const converted = new Map<string, (data: Float32Array) => Float32Array>();
  for (const [name, shape] of expected) {
    const found = checkpoint.shape(names.get(name) as string);
    if (sameShape(found, shape)) continue;
    const { convert, change } = resampler(name, found, shape, config);
    converted.set(name, convert);
    changes.push(change);
  }
  return {
    changes,
    tensor: async (name) => {
      const data = await checkpoint.tensor(names.get(name) as string);
      return converted.get(name)?.(data) ?? data;
    },
  };
}

/** Of a block's tensor as BAAI names it, open_clip's name; others stay as they are. */
export function blockName(theirs: string): string {
  return BLOCK_NAMES.reduce((name, [pattern, ours]) => name.replace(pattern, ours), theirs);
}

/** Our name of each tensor in the file → its name there. */
function ourNames(files: string[], { image }: ModelConfig): { naming: FittedCheckpoint["naming"]; names: Map<string, string> } {
  const names = new Map<string, string>();
  let naming: FittedCheckpoint["naming"] = "open_clip";
  for (const file of files) {
    if (file.includes("rope")) continue; // rotary tables are constants of the graph
    let name = file.replace(/^module\./, "");
    if (name.startsWith("visual.") && !name.startsWith(TRUNK)) {
      naming = "baai";
      name = TRUNK + name.slice("visual.".length);
      if (image.subNorm) name = blockName(name);
    }
    const other = names.get(name);
    if (other !== undefined) throw unfit(`${shown(other)} and ${shown(file)} are the same tensor`);
    names.set(name, file);
  }
  return { naming, names };
}

function refuseMismatch(expected: ReadonlyMap<string, number[]>, found: ReadonlyMap<string, string>, model: string): void {
  const missing = [...expected.keys()].filter((name) => !found.has(name));
  const unexpected = [...found].filter(([name]) => !expected.has(name)).map(([, file]) => file);
  if (missing.length === 0 && unexpected.length === 0) return;
  throw unfit(
    `it is no ${model}: ${missing.length} tensors missing${listed(missing)}, ${unexpected.length} unexpected${listed(unexpected)}`,
  );
}

export function listed(names: string[]): string {
  if (names.length === 0) return "";
  const rest = names.length > LISTED ? `, and ${names.length - LISTED} more` : "";
  return ` (${names.slice(0, LISTED).map(shown).join(", ")}${rest})`;
}

/** Positions of another grid and patch kernels of another size are resampled; any other difference is an error. */
function resampler(name: string, found: number[], wanted: number[], { image, name: model }: ModelConfig) {
  const wrong = unfit(`it is no ${model}: ${name} has shape [${found.join(", ")}], expected [${wanted.join(", ")}]`);
  if (name === POSITIONS) {
    const [from, to] = [Math.sqrt((found[1] ?? 0) - 1), image.size / image.patch];
    if (found.length !== 3 || found[0] !== 1 || found[2] !== image.width || !Number.isInteger(from) || from < 1) throw wrong;
    const convert = (data: Float32Array) => resamplePositions(data, image.width, from, to);
    return { convert, change: `positions resampled from ${from} × ${from} to ${to} × ${to} (bicubic, antialias)` };
  }
  if (name === PATCHES) {
    const from = found[2] as number;
    if (found.length !== 4 || found[0] !== image.width || found[1] !== 3 || found[3] !== from || from < 1 || from > 64) throw wrong;
    const convert = (data: Float32Array) => resamplePatches(data, from, image.patch);
    return { convert, change: `patch kernels resampled from ${from} × ${from} to ${image.patch} × ${image.patch} (pseudo-inverse)` };
  }
  throw wrong;
}

function sameShape(a: number[], b: number[]): boolean {
  const plain = (shape: number[]) => (shape.length === 1 && shape[0] === 1 ? [] : shape); // a scalar may be stored as one number
  const [left, right] = [plain(a), plain(b)];
  return left.length === right.length && left.every((size, i) => size === right[i]);
}

export function unfit(why: string): KenpinError {
  return new KenpinError("checkpoint-unfit", `the checkpoint does not fit the configuration: ${why}`);
}
