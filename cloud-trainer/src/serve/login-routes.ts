/** Signing in to the page: by a one-time link, or by pasting a token. Tools go on using their token. */
import { enter, type LoginTexts, leave, loginPage, readJson, readLoginForm } from "@kenpin/page";
import { LoginLinkRequest, TokenRequest } from "@kenpin/schema";
import { Hono } from "hono";
import { type Door, needs } from "../door.ts";
import type { Access } from "./access.ts";
import { SESSION_COOKIE } from "./guard.ts";

const TEXTS: LoginTexts = {
  en: {
    title: "Sign in to kenpin",
    hint: "An administrator can give you a token or a one-time link. The first token is in admin.token in the hub's data folder.",
    link: "This link was used already or is more than five minutes old. Ask for a new one.",
  },
  ja: {
    title: "kenpin にサインイン",
    hint: "トークンまたは一度だけ使えるリンクは管理者が発行します。最初のトークンはハブのデータフォルダの admin.token にあります。",
    link: "このリンクは使用済みか、5分を過ぎています。新しいリンクを発行してもらってください。",
  },
};

export function loginRoutes(access: Access): Hono<Door> {
  const routes = new Hono<Door>();

  routes.get("/login", async (c) => {
    const code = c.req.query("code");
    if (code === undefined) return loginPage(c, TEXTS, null);
    const person = await access.redeem(code);
    return person ? enter(c, SESSION_COOKIE, await access.openSession(person)) : loginPage(c, TEXTS, "link");
  });

  routes.post("/login", async (c) => {
    const { token } = await readLoginForm(c);
    const person = await access.personOf(token);
    return person ? enter(c, SESSION_COOKIE, await access.openSession(person)) : loginPage(c, TEXTS, "token");
  });

  routes.post("/logout", async (c) => {
    await access.closeSession(leave(c, SESSION_COOKIE));
    return c.redirect("/login", 303);
  });

  routes.get("/v1/me", needs("viewer"), (c) => {
    const caller = c.get("caller");
    return caller?.kind === "person" ? c.json({ name: caller.name, role: caller.role }) : c.notFound();
  });

  routes.post("/v1/tokens", needs("admin"), async (c) => c.json(await access.grant(await readJson(c, TokenRequest, "token")), 201));

  routes.post("/v1/login-links", needs("admin"), async (c) => {
    return c.json(await access.loginLink(await readJson(c, LoginLinkRequest, "login link")), 201);
  });

  return routes;
}
