/** Every word of the glossary with the English that a text tower reads, for whoever offers words to a person. */
import { type Glossary, readGlossary } from "./glossary.ts";

export type GlossaryTerm = { word: string; means: string; side: "good" | "bad" | "object" };

export function glossaryTerms({ states, objects }: Glossary = readGlossary()): GlossaryTerm[] {
  const ofStates = states.flatMap(({ ja, en, states: phrases, good }) =>
    [...ja, ...en].map((word): GlossaryTerm => ({ word, means: (phrases[0] as string).replace("{} ", ""), side: good ? "good" : "bad" })),
  );
  return [...ofStates, ...objects.flatMap(({ ja, en }) => ja.map((word): GlossaryTerm => ({ word, means: en, side: "object" })))];
}
