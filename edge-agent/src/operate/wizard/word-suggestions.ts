/** Words of the glossary that begin with, or hold, what somebody is typing; with what they mean to the model. */
import { glossaryTerms } from "@kenpin/clip";
import type { WordSuggestion } from "@kenpin/schema";

const SHOWN = 12;

export function suggestWords(text: string): WordSuggestion[] {
  const terms = glossaryTerms();
  const typed = text.normalize("NFKC").trim().toLowerCase();
  const rank = ({ word }: WordSuggestion) => {
    const at = word.toLowerCase().indexOf(typed);
    return at === 0 ? 0 : at > 0 ? 1 : 2;
  };
  const found = terms.map((term) => ({ term, place: rank(term) })).filter(({ place }) => place < 2);
  found.sort((a, b) => a.place - b.place || a.term.word.length - b.term.word.length);
  return found.slice(0, SHOWN).map(({ term }) => term);
}
