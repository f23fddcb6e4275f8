/** Step 3: what it is and what may be wrong with it, in Japanese or English, with suggestions and what each word becomes. */
import type { Words, WordSuggestion } from "@kenpin/schema";
import { useEffect, useState } from "preact/hooks";
import type { StepProps } from "./setup-view.tsx";
import type { Store } from "./store.ts";
import type { Texts } from "./texts.ts";

type Draft = { object: string; bad: string[]; good: string[] };
const SUGGEST_PAUSE_MS = 150;

export function WordsStep({ setup, store, act, t }: StepProps) {
  const { words, wordsCanChange } = setup;
  const [draft, setDraft] = useState<Draft>(() => draftOf(words));
  const say = (next: Draft) => {
    setDraft(next);
    void act(() => store.ask("PUT", "/v1/setup/words", next));
  };
  if (!wordsCanChange) {
    return (
      <>
        <p class="notice">{t.wordsFixed}</p>
        <Become words={words} t={t} />
      </>
    );
  }
  return (
    <>
      <p class="hint">{t.wordsHint}</p>
      <div class="words">
        <WordField
          label={t.object}
          example={t.objectExample}
          side="object"
          words={draft.object === "" ? [] : [draft.object]}
          onWords={(list) => say({ ...draft, object: list.at(-1) ?? "" })}
          store={store}
          t={t}
        />
        <WordField
          label={t.badWords}
          example={t.badExample}
          side="bad"
          words={draft.bad}
          onWords={(bad) => say({ ...draft, bad })}
          store={store}
          t={t}
        />
        <WordField
          label={t.goodWords}
          example={t.goodExample}
          side="good"
          words={draft.good}
          onWords={(good) => say({ ...draft, good })}
          store={store}
          t={t}
        />
      </div>
      {words.warnings.map((warning) => (
        <p key={warning} class="notice">
          {warning}
        </p>
      ))}
      <Become words={words} t={t} />
    </>
  );
}

type FieldProps = {
  label: string;
  example: string;
  side: WordSuggestion["side"];
  words: string[];
  onWords: (words: string[]) => void;
  store: Store;
  t: Texts;
};

function WordField({ label, example, side, words, onWords, store, t }: FieldProps) {
  const [typed, setTyped] = useState("");
  const suggestions = useSuggestions(store, typed, side).filter(({ word }) => !words.includes(word));
  const add = (text: string) => {
    const fresh = text.split(/[,、，]/).map((word) => word.trim());
    const whole = [...words, ...fresh.filter((word) => word !== "" && !words.includes(word))];
    setTyped("");
    if (whole.length > words.length) onWords(whole);
  };
  const id = `words-${side}`;
  return (
    <div class="word-field">
      <label for={id}>{label}</label>
      {words.length > 0 && (
        <ul class="chips">
          {words.map((word) => (
            <li key={word}>
              {word}
              <button type="button" aria-label={t.removeWord(word)} onClick={() => onWords(words.filter((other) => other !== word))}>
                ×
              </button>
            </li>
          ))}
        </ul>
      )}
      <form
        class="typing"
        onSubmit={(event) => {
          event.preventDefault();
          // What stands in the field: a fast Enter comes before the state, and a button that is still disabled would swallow it.
          add(new FormData(event.currentTarget).get("word") as string);
        }}
      >
        <input
          id={id}
          name="word"
          value={typed}
          maxLength={100}
          placeholder={example}
          autocomplete="off"
          onInput={(event) => setTyped(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && event.isComposing) event.preventDefault(); // an input method takes this Enter
          }}
        />
        <button type="submit">{t.addWord}</button>
      </form>
      {suggestions.length > 0 && (
        <ul class="suggestions" aria-label={t.suggestions}>
          {suggestions.slice(0, 8).map(({ word, means }) => (
            <li key={word}>
              <button type="button" class="quiet" onClick={() => add(word)}>
                {word} <span class="hint">{means}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function useSuggestions(store: Store, typed: string, side: WordSuggestion["side"]): WordSuggestion[] {
  const [found, setFound] = useState<WordSuggestion[]>([]);
  useEffect(() => {
    if (typed.trim() === "") {
      setFound([]);
      return;
    }
    let asked = true;
    const timer = setTimeout(async () => {
      const all = await store.ask<WordSuggestion[]>("GET", `/v1/setup/words?text=${encodeURIComponent(typed)}`).catch(() => []);
      if (asked) setFound(all.filter((one) => one.side === side));
    }, SUGGEST_PAUSE_MS);
    return () => {
      asked = false;
      clearTimeout(timer);
    };
  }, [store, typed, side]);
  return found;
}

function Become({ words: { sheet, rows }, t }: { words: Words; t: Texts }) {
  return (
    <section aria-label={t.become}>
      <h3>{sheet ? t.become : t.bundleWords}</h3>
      <table class="become">
        <tbody>
          {rows.map(({ side, word, text }) => (
            <tr key={`${side}/${word}/${text}`}>
              <td class={side === "good" ? "pass" : "fail"}>{side === "good" ? t.sideGood : t.sideBad}</td>
              <td>{word}</td>
              <td lang="en">{text === word ? "" : text}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function draftOf({ sheet }: Words): Draft {
  const wordOf = (state: unknown) =>
    typeof state === "string" ? state : Object.values(state as Record<string, unknown>).find((one) => typeof one === "string");
  const list = (states: readonly unknown[] | undefined) =>
    (states ?? []).map(wordOf).filter((word): word is string => typeof word === "string");
  return { object: sheet?.object ?? "", bad: list(sheet?.bad), good: list(sheet?.good) };
}
