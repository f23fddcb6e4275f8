/**
 * Signing in to the page: by a one-time link, or by pasting a token. Both end in a session cookie that scripts cannot read
 * and that other sites cannot send. Tools go on using their token.
 */
import { LoginLinkRequest, TokenRequest } from "@kenpin/schema";
import { type Context, Hono } from "hono";
import { deleteCookie, getCookie, setCookie } from "hono/cookie";
import { type Door, needs, readJson, readLimited } from "../door.ts";
import { type Access, SESSION_LIFE_MS } from "./access.ts";
import { SESSION_COOKIE, sameOrigin } from "./guard.ts";
import { loginPage } from "./login-page.ts";

const FORM_LIMIT_BYTES = 4096;
const CODE_LIMIT = 128;

export function loginRoutes(access: Access): Hono<Door> {
  const routes = new Hono<Door>();
  const page = (c: Context<Door>, fault: "link" | "token" | null, status: 200 | 401) =>
    c.html(loginPage(c.req.header("accept-language") ?? "", fault), status);

  routes.get("/login", async (c) => {
    const code = c.req.query("code");
    if (code === undefined) return page(c, null, 200);
    const person = code.length <= CODE_LIMIT ? await access.redeem(code) : null;
    return person ? enter(c, await access.openSession(person)) : page(c, "link", 401);
  });

  routes.post("/login", async (c) => {
    sameOrigin(c); // else another site could sign somebody in under its own name
    const form = new URLSearchParams(new TextDecoder().decode(await readLimited(c.req.raw.body, FORM_LIMIT_BYTES, "the form")));
    const person = await access.personOf((form.get("token") ?? "").trim());
    return person ? enter(c, await access.openSession(person)) : page(c, "token", 401);
  });

  routes.post("/logout", async (c) => {
    sameOrigin(c);
    await access.closeSession(getCookie(c, SESSION_COOKIE) ?? "");
    deleteCookie(c, SESSION_COOKIE);
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

function enter(c: Context<Door>, session: string): Response {
  setCookie(c, SESSION_COOKIE, session, { httpOnly: true, sameSite: "Strict", path: "/", maxAge: SESSION_LIFE_MS / 1000 });
  return c.redirect("/", 303);
}
