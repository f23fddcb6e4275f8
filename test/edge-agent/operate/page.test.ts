/** Who may open the agent's page, and from where: asked over HTTP as a browser, a tool and a stranger would, of a real agent. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type EdgeSite, openSite } from "../edge-site.ts";

let site: EdgeSite;
let url = "";
let token = "";
let cookie = "";

before(async () => {
  site = await openSite({ page: { port: 0 } });
  await site.startAgent();
  url = (await readFile(join(site.config.dataDir, "page.url"), "utf8")).trim();
  token = (await readFile(join(site.config.dataDir, "page.token"), "utf8")).trim();
});
after(() => site.close());

test("nobody who is not signed in sees a frame, a setting or an event, or changes anything", async () => {
  const sha256 = "0".repeat(64);
  const reading = ["/v1/state", "/v1/events", "/v1/setup", "/v1/setup/curve", "/v1/settings", "/v1/settings/1/file", "/v1/audit"];
  for (const path of [...reading, `/v1/frames/${sha256}`, `/v1/frames/${sha256}/map`])
    assert.equal(await refused("GET", path), "not-signed-in");
  const writing = ["/v1/setup/pictures", "/v1/setup/look", "/v1/setup/save", "/v1/settings", "/v1/settings/back", "/v1/login-links"];
  for (const path of writing) assert.equal(await refused("POST", path), "not-signed-in");
  assert.equal(await refused("DELETE", "/v1/setup"), "not-signed-in");
  const page = await fetch(url, { redirect: "manual" });
  assert.deepEqual([page.status, page.headers.get("location")], [303, "/login"]);
});

test("a wrong token is refused whatever it is, and a cookie beside it does not help", async () => {
  assert.equal(await refused("GET", "/v1/state", { authorization: "Bearer wrong" }), "token-unknown");
  assert.equal(await refused("GET", "/v1/state", { authorization: `Basic ${token}` }), "token-unknown");
  const { status } = await fetch(`${url}/v1/state`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(status, 200);
});

test("the sign-in form takes the token from the page's own origin only", async () => {
  const form = { method: "POST", body: new URLSearchParams({ token, name: "Sato" }), redirect: "manual" } as const;
  assert.equal((await fetch(`${url}/login`, form)).status, 403);
  assert.equal((await fetch(`${url}/login`, { ...form, headers: { origin: "http://elsewhere.example" } })).status, 403);
  const entered = await fetch(`${url}/login`, { ...form, headers: { origin: url } });
  assert.equal(entered.status, 303);
  const set = entered.headers.get("set-cookie") ?? "";
  assert.match(set, /HttpOnly/);
  assert.match(set, /SameSite=Strict/);
  cookie = set.split(";")[0] as string;
  const state = (await (await fetch(`${url}/v1/state`, { headers: { cookie } })).json()) as { person: string };
  assert.equal(state.person, "Sato");
});

test("another site's page cannot change anything with a signed-in browser's cookie", async () => {
  const foreign = ["http://elsewhere.example", "null", url.replace(/\d+$/, "1"), `${url}.elsewhere.example`];
  for (const origin of foreign) {
    assert.equal(await refused("DELETE", "/v1/setup", { cookie, origin }), "origin-foreign", origin);
    assert.equal(await refused("POST", "/v1/settings/back", { cookie, origin }), "origin-foreign", origin);
  }
  assert.equal(await refused("DELETE", "/v1/setup", { cookie }), "origin-foreign");
  assert.equal((await fetch(`${url}/v1/setup`, { method: "DELETE", headers: { cookie, origin: url } })).status, 200);
});

test("a name that was made to point here is not answered to", async () => {
  assert.equal(await statusAt("elsewhere.example"), 421);
  assert.equal(await statusAt(new URL(url).host), 200);
});

test("a link signs in once, and signing out ends its session", async () => {
  const made = await fetch(`${url}/v1/login-links`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ name: "Suzuki" }),
  });
  const { path } = (await made.json()) as { path: string };
  const first = await fetch(url + path, { redirect: "manual" });
  assert.equal(first.status, 303);
  assert.equal((await fetch(url + path, { redirect: "manual" })).headers.get("set-cookie"), null);
  const own = { cookie: (first.headers.get("set-cookie") ?? "").split(";")[0] as string };
  assert.equal((await fetch(`${url}/v1/state`, { headers: own })).status, 200);
  await fetch(`${url}/logout`, { method: "POST", headers: { ...own, origin: url }, redirect: "manual" });
  assert.equal(await refused("GET", "/v1/state", own), "not-signed-in");
});

test("whoever tries tokens, links and the form has five tries a minute, together; who is signed in goes on", async () => {
  const codes: string[] = [];
  const form = { method: "POST", body: new URLSearchParams({ token: "wrong", name: "" }), headers: { origin: url } };
  const before = 3; // wrong ones of the tests above
  for (let tries = before; tries < 5; tries++) codes.push(String((await fetch(`${url}/login`, form)).status));
  assert.ok(
    codes.every((status) => status !== "429"),
    codes.join(),
  );
  assert.equal((await fetch(`${url}/login`, form)).status, 429);
  assert.equal((await fetch(`${url}/login?code=guessed`)).status, 429);
  const { message } = (await (await fetch(`${url}/v1/state`, { headers: { authorization: "Bearer wrong" } })).json()) as {
    message: string;
  };
  assert.match(message, /^too many wrong tokens or links; try again in ([1-9]|[1-5]\d|60) s$/);
  assert.equal((await fetch(`${url}/v1/state`, { headers: { cookie } })).status, 200);
});

async function refused(method: string, path: string, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(url + path, { method, headers });
  const body = (await response.json()) as { code?: string };
  assert.ok(response.status >= 400, `${method} ${path} was answered ${response.status}`);
  return body.code ?? "";
}

/** fetch sends no Host of one's own. */
function statusAt(host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const headers = { host, authorization: `Bearer ${token}` };
    request(`${url}/v1/state`, { headers }, (response) => resolve(response.resume().statusCode))
      .once("error", reject)
      .end();
  });
}
