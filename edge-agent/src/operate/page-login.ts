/**
 * Signing in to the agent's page: by a one-time link that `kenpin-agent page-link` prints, or with the token of page.token.
 * The name a person gives is the one that the audit trail shows.
 */
import { enter, type LoginTexts, leave, loginPage, readJson, readLoginForm } from "@kenpin/page";
import { type AgentLoginLink, AgentLoginLinkRequest } from "@kenpin/schema";
import { type Context, Hono } from "hono";
import type { PageAccess } from "./page-access.ts";
import { type Door, signedIn } from "./page-door.ts";
import { addressOf, refuseTooMany, SESSION_COOKIE } from "./page-guard.ts";

const TEXTS: LoginTexts = {
  en: {
    title: "Sign in to this inspection agent",
    name: "Your name",
    hint: "On the agent's computer, run kenpin-agent page-link: it prints a link that opens this page once. Or paste what is in page.token in the agent's data folder.",
    link: "This link was used already or is more than five minutes old. Make a new one with kenpin-agent page-link.",
  },
  ja: {
    title: "検査エージェントにサインイン",
    name: "お名前",
    hint: "エージェントのコンピュータで kenpin-agent page-link を実行すると、このページを一度だけ開けるリンクが表示されます。エージェントのデータフォルダにある page.token の内容を貼り付けてもかまいません。",
    link: "このリンクは使用済みか、5分を過ぎています。kenpin-agent page-link で新しいリンクを作ってください。",
  },
};

export function loginRoutes(access: PageAccess): Hono<Door> {
  const routes = new Hono<Door>();
  const wrong = (c: Context<Door>, fault: "link" | "token") => {
    access.fault(addressOf(c));
    return loginPage(c, TEXTS, fault);
  };

  routes.get("/login", (c) => {
    const code = c.req.query("code");
    if (code === undefined) return loginPage(c, TEXTS, null);
    refuseTooMany(access, addressOf(c));
    const person = access.redeem(code);
    return person ? enter(c, SESSION_COOKIE, access.open(person)) : wrong(c, "link");
  });

  routes.post("/login", async (c) => {
    refuseTooMany(access, addressOf(c));
    const { token, name } = await readLoginForm(c);
    return access.holdsToken(token) ? enter(c, SESSION_COOKIE, access.open({ name: name || "operator" })) : wrong(c, "token");
  });

  routes.post("/logout", (c) => {
    access.close(leave(c, SESSION_COOKIE));
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
