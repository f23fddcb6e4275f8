/**
 * Signing in to the agent's page: by a one-time link that `kenpin-agent page-link` prints, or with the token of page.token.
 * Both end in a session cookie that scripts cannot read and that other sites cannot send. The form is plain HTML without script,
 * in the browser's language. The name a person gives is the one that the audit trail shows.
 */
import { type AgentLoginLink, AgentLoginLinkRequest } from "@kenpin/schema";
import { type Context, Hono } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { type PageAccess, SESSION_LIFE_MS } from "./page-access.ts";
import { type Caller, type Door, readJson, readLimited, signedIn } from "./page-door.ts";
import { addressOf, refuseTooMany, SESSION_COOKIE, sameOrigin } from "./page-guard.ts";

const FORM_LIMIT_BYTES = 4096;
const CODE_LIMIT = 128;
const NAME_LIMIT = 64;

const TEXTS = {
  en: {
    title: "Sign in to this inspection agent",
    name: "Your name",
    token: "Token",
    button: "Sign in",
    hint: "On the agent's computer, run kenpin-agent page-link: it prints a link that opens this page once. Or paste what is in page.token in the agent's data folder.",
    link: "This link was used already or is more than five minutes old. Make a new one with kenpin-agent page-link.",
    fault: "This token is not known here.",
  },
  ja: {
    title: "検査エージェントにサインイン",
    name: "お名前",
    token: "トークン",
    button: "サインイン",
    hint: "エージェントのコンピュータで kenpin-agent page-link を実行すると、このページを一度だけ開けるリンクが表示されます。エージェントのデータフォルダにある page.token の内容を貼り付けてもかまいません。",
    link: "このリンクは使用済みか、5分を過ぎています。kenpin-agent page-link で新しいリンクを作ってください。",
    fault: "このトークンは登録されていません。",
  },
};

export function loginRoutes(access: PageAccess): Hono<Door> {
  const routes = new Hono<Door>();
  const page = (c: Context<Door>, fault: "link" | "token" | null, status: 200 | 401) =>
    c.html(loginPage(c.req.header("accept-language") ?? "", fault), status);
  const wrong = (c: Context<Door>, fault: "link" | "token") => {
    access.fault(addressOf(c));
    return page(c, fault, 401);
  };

  routes.get("/login", (c) => {
    const code = c.req.query("code");
    if (code === undefined) return page(c, null, 200);
    refuseTooMany(access, addressOf(c));
    const person = code.length <= CODE_LIMIT ? access.redeem(code) : null;
    return person ? enter(c, access, person) : wrong(c, "link");
  });

  routes.post("/login", async (c) => {
    sameOrigin(c); // else another site could sign somebody in under its own name
    refuseTooMany(access, addressOf(c));
    const form = new URLSearchParams(new TextDecoder().decode(await readLimited(c.req.raw.body, FORM_LIMIT_BYTES, "the form")));
    const name = (form.get("name") ?? "").trim().slice(0, NAME_LIMIT) || "operator";
    return access.holdsToken((form.get("token") ?? "").trim()) ? enter(c, access, { name }) : wrong(c, "token");
  });

  routes.post("/logout", (c) => {
    sameOrigin(c);
    access.close(getCookie(c, SESSION_COOKIE) ?? "");
    deleteCookie(c, SESSION_COOKIE);
    return c.redirect("/login", 303);
  });

  routes.post("/v1/login-links", signedIn(), async (c) => {
    const { name } = await readJson(c, AgentLoginLinkRequest, "the login link");
    const { code, expiresAt } = access.link(name);
    const link: AgentLoginLink = { path: `/login?code=${code}`, expiresAt: new Date(expiresAt).toISOString() };
    return c.json(link, 201);
  });

  return routes;
}

function enter(c: Context<Door>, access: PageAccess, person: Caller): Response {
  const options = { httpOnly: true, sameSite: "Strict", path: "/", maxAge: SESSION_LIFE_MS / 1000 } as const;
  setCookie(c, SESSION_COOKIE, access.open(person), options);
  return c.redirect("/", 303);
}

function loginPage(acceptLanguage: string, fault: "link" | "token" | null): string {
  const language = /^ja\b/i.test(acceptLanguage) ? "ja" : "en";
  const text = TEXTS[language];
  const warning = fault === null ? "" : `<p class="warning" role="alert">${fault === "link" ? text.link : text.fault}</p>`;
  return `<!doctype html>
<html lang="${language}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${text.title}</title>
<link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/main.css"></head>
<body><main class="login"><h1>${text.title}</h1>${warning}
<form method="post" action="/login"><label>${text.name} <input name="name" autocomplete="name" maxlength="${NAME_LIMIT}"></label>
<label>${text.token} <input type="password" name="token" autocomplete="current-password" required></label>
<button>${text.button}</button></form><p class="hint">${text.hint}</p></main></body></html>
`;
}
