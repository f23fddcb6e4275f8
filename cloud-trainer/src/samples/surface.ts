/**
 * The families of generated surfaces, in the order in which shards number them; see surfaces/material.ts for what a family is.
 */
import { assembly, singlePart } from "./surfaces/assembly.ts";
import { beads } from "./surfaces/beads.ts";
import { circuit } from "./surfaces/circuit.ts";
import { ceramic, concrete, glass, moulded, painted, printed, wood } from "./surfaces/coatings.ts";
import { knitted, randomField, woven } from "./surfaces/fabrics.ts";
import { grainMap, granular } from "./surfaces/grains.ts";
import type { Flaw, Material } from "./surfaces/material.ts";
import { brushed, cast, machined, perforated } from "./surfaces/metals.ts";

export type { Flaw, Material, Relief } from "./surfaces/material.ts";

export const MATERIALS: readonly Material[] = [
  woven,
  knitted,
  brushed,
  cast,
  granular,
  randomField,
  wood,
  printed,
  machined,
  painted,
  moulded,
  glass,
  ceramic,
  concrete,
  perforated,
  circuit,
  grainMap,
  beads,
  assembly,
  singlePart,
];

/** What can be made wrongly, of all families. */
export const MADE_WRONGLY: readonly Flaw[] = MATERIALS.flatMap(({ flaws }) => flaws);
