/**
 * A recipe as people write it: one YAML file. Paths in it are taken from the file's own folder; a misspelt key is refused by
 * name with the nearest right one.
 */
import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { errorLine, KenpinError, parseAtDoor, Recipe } from "@kenpin/schema";
import { parse } from "yaml";

/** A recipe of sixteen stages with every constant said takes 30 kB. */
const LIMIT_BYTES = 1024 * 1024;

export async function readRecipe(file: string): Promise<Recipe> {
  const found = await stat(file).catch((cause: unknown) => {
    throw new KenpinError(
      "recipe-missing",
      `${file} cannot be read; name a recipe, a YAML file (ready ones lie in cloud-trainer/recipes)`,
      { cause },
    );
  });
  if (!found.isFile()) throw new KenpinError("recipe-missing", `${file} is no file; name a recipe, a YAML file`);
  if (found.size > LIMIT_BYTES)
    throw new KenpinError("recipe-too-large", `${file} has ${found.size} bytes, at most ${LIMIT_BYTES} are read`);
  return fromFolder(parseRecipe(await readFile(file, "utf8"), file), dirname(file));
}

export function parseRecipe(text: string, what: string): Recipe {
  let value: unknown;
  try {
    value = parse(text, { merge: true, maxAliasCount: 100 });
  } catch (error) {
    throw new KenpinError("recipe-unreadable", `${what} is no YAML: ${errorLine(error).split("\n")[0]}`, { cause: error });
  }
  return parseAtDoor(Recipe, value, what);
}

function fromFolder(recipe: Recipe, folder: string): Recipe {
  const from = (path: string) => resolve(folder, path);
  const { weights, image, text } = recipe.start;
  return {
    ...recipe,
    start: {
      ...recipe.start,
      ...(weights !== undefined && { weights: from(weights) }),
      ...(image && { image: { ...image, file: from(image.file) } }),
      ...(text && { text: { ...text, file: from(text.file) } }),
    },
    stages: recipe.stages.map((stage) => ({
      ...stage,
      data: { ...stage.data, sets: stage.data.sets.map(from) },
      ...(stage.stage === "pretrain" && stage.teacher !== null && { teacher: from(stage.teacher) }),
      ...(stage.stage === "distill" &&
        stage.student.weights !== undefined && { student: { ...stage.student, weights: from(stage.student.weights) } }),
    })),
  };
}
