/**
 * Whether a set is in order: every picture is looked at once, then all that is wrong is named, errors first.
 * In: a set, and a model to hold it against. Out: findings (see checks/findings.ts), none where nothing is wrong.
 */
import type { ModelConfig } from "@kenpin/clip";
import type { Language } from "./checks/finding-texts.ts";
import { type Finding, findingsIn } from "./checks/findings.ts";
import { alikeAmong, lookAtAll } from "./checks/looks.ts";
import type { PictureSet, ReadOptions } from "./picture.ts";

export type { Finding } from "./checks/findings.ts";

type FindingOptions = ReadOptions & { config?: ModelConfig | null; language?: Language };

export async function findingsOf(set: PictureSet, { config = null, language = "en", ...reading }: FindingOptions = {}): Promise<Finding[]> {
  const seen = await lookAtAll(set.pictures, reading);
  return findingsIn({ set, seen, alike: alikeAmong(seen), config, language });
}
