/** The bar on top of a page: the product's name, what the page puts there, the other language, and the way out for who is signed in. */
import type { ComponentChildren } from "preact";
import type { Words } from "./language.ts";

type Props = { person: string | null; onLanguage: () => void; t: Words; children: ComponentChildren };

export function TopBar({ person, onLanguage, t, children }: Props) {
  return (
    <header class="top">
      <h1>
        kenpin <span lang="ja">検品</span>
      </h1>
      {children}
      <button type="button" class="quiet" onClick={onLanguage} lang={t.otherLanguage === "English" ? "en" : "ja"}>
        {t.otherLanguage}
      </button>
      {person !== null && (
        <form method="post" action="/logout">
          <button type="submit" class="quiet" title={person}>
            {t.signOut}
          </button>
        </form>
      )}
    </header>
  );
}
