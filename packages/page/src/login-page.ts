/**
 * The sign-in page: plain HTML without script, so that it works before anything else does. In the browser's language.
 * In: what the program calls itself and where its tokens come from, in both languages; `name` where a person also gives one.
 */
import type { Context } from "hono";
import { NAME_LIMIT } from "./session.ts";

type OwnTexts = {
  title: string;
  hint: string;
  /** Said of a link that was used or is too old. */
  link: string;
  name?: string;
};
export type LoginTexts = { en: OwnTexts; ja: OwnTexts };

const TEXTS = {
  en: { token: "Token", button: "Sign in", fault: "This token is not known here." },
  ja: { token: "トークン", button: "サインイン", fault: "このトークンは登録されていません。" },
};

export function loginPage(c: Context, own: LoginTexts, fault: "link" | "token" | null): Response | Promise<Response> {
  const language = /^ja\b/i.test(c.req.header("accept-language") ?? "") ? "ja" : "en";
  const text = { ...TEXTS[language], ...own[language] };
  const warning = fault === null ? "" : `<p class="warning" role="alert">${fault === "link" ? text.link : text.fault}</p>`;
  const name = text.name && `<label>${text.name} <input name="name" autocomplete="name" maxlength="${NAME_LIMIT}"></label>\n`;
  const html = `<!doctype html>
<html lang="${language}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${text.title}</title>
<link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/main.css"></head>
<body><main class="login"><h1>${text.title}</h1>${warning}
<form method="post" action="/login">${name ?? ""}<label>${text.token} <input type="password" name="token" autocomplete="current-password" required${name ? "" : " autofocus"}></label>
<button>${text.button}</button></form><p class="hint">${text.hint}</p></main></body></html>
`;
  return c.html(html, fault === null ? 200 : 401);
}
