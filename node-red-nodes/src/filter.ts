/** Names that a field lists, separated by commas; an empty field lets everything through. */
import { z } from "zod";

export const listed = z
  .string()
  .max(1000)
  .default("")
  .transform((text) =>
    text
      .split(/[,、\s]+/)
      .map((name) => name.trim())
      .filter((name) => name !== ""),
  );

export function fitting(names: readonly string[], name: string): boolean {
  return names.length === 0 || names.includes(name);
}
