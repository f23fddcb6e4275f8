/** The sign-in page: plain HTML without script, so that it works before anything else does. In the browser's language. */
const TEXTS = {
  en: {
    title: "Sign in to kenpin",
    token: "Token",
    button: "Sign in",
    hint: "An administrator can give you a token or a one-time link. The first token is in admin.token in the hub's data folder.",
    link: "This link was used already or is more than five minutes old. Ask for a new one.",
    fault: "This token is not known here.",
  },
  ja: {
    title: "kenpin にサインイン",
    token: "トークン",
    button: "サインイン",
    hint: "トークンまたは一度だけ使えるリンクは管理者が発行します。最初のトークンはハブのデータフォルダの admin.token にあります。",
    link: "このリンクは使用済みか、5分を過ぎています。新しいリンクを発行してもらってください。",
    fault: "このトークンは登録されていません。",
  },
};

export function loginPage(acceptLanguage: string, fault: "link" | "token" | null): string {
  const language = /^ja\b/i.test(acceptLanguage) ? "ja" : "en";
  const text = TEXTS[language];
  const warning = fault === null ? "" : `<p class="warning" role="alert">${fault === "link" ? text.link : text.fault}</p>`;
  return `<!doctype html>
<html lang="${language}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${text.title}</title>
<link rel="stylesheet" href="/main.css"></head>
<body><main class="login"><h1>${text.title}</h1>${warning}
<form method="post" action="/login"><label>${text.token} <input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>${text.button}</button></form><p class="hint">${text.hint}</p></main></body></html>
`;
}
