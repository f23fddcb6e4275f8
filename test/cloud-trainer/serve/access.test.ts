/** Who may do what on a real hub: tokens, roles, links, cookies, hosts and origins, and input that is not what it should be. */
import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createHubClient } from "@kenpin/client";
import type { Role } from "@kenpin/schema";
import { type Site, startSite } from "../../support/hub.ts";

let site: Site;
before(async () => {
  site = await startSite();
});
after(() => site.stop());

test("the administrator's token and the keys are made at the first start, for their owner's eyes only", async () => {
  for (const file of ["admin.token", "keys/root.json", "keys/signing.json"]) {
    assert.equal((await stat(join(site.dataDir, file))).mode & 0o777, 0o600, file);
  }
});

test("without a token, with a wrong one, or with an agent's, nothing is shown", async () => {
  const { token } = await site.hub.client.enrol({ site: "demo", agent: "edge-1" });
  assert.equal((await ask("GET", "/v1/verdicts", null)).status, 401);
  assert.equal((await ask("GET", "/v1/verdicts", "ka_wrong")).status, 401);
  assert.equal((await ask("GET", "/v1/verdicts", token)).status, 403);
  assert.equal((await ask("PUT", `/v1/blobs/${"0".repeat(64)}`, site.hub.token)).status, 403);
});

test("enrolling an agent again takes its old token back", async () => {
  const first = await site.hub.client.enrol({ site: "demo", agent: "edge-2" });
  const second = await site.hub.client.enrol({ site: "demo", agent: "edge-2" });
  assert.equal((await ask("GET", `/v1/bundles/${"0".repeat(64)}`, first.token)).status, 401);
  assert.equal((await ask("GET", `/v1/bundles/${"0".repeat(64)}`, second.token)).status, 404);
  assert.equal((await site.hub.client.agents()).filter(({ agent }) => agent === "edge-2").length, 1);
});

test("each role may do what it is there for and nothing above it", async () => {
  const labels = [{ sample: "0".repeat(64), label: "good", by: "me" }];
  const doors: [Role, string, string, unknown][] = [
    ["viewer", "GET", "/v1/verdicts", undefined],
    ["labeller", "POST", "/v1/labels", labels],
    ["engineer", "POST", "/v1/rollouts", { bundle: "0".repeat(64), site: "demo", agents: ["edge-1"] }],
    ["admin", "POST", "/v1/agents", { site: "demo", agent: "edge-3" }],
  ];
  for (const [rank, role] of (["viewer", "labeller", "engineer", "admin"] as const).entries()) {
    const grant = (await (await ask("POST", "/v1/tokens", site.hub.token, { name: `a-${role}`, role })).json()) as { token: string };
    for (const [needed, [, method, path, body]] of doors.entries()) {
      const { status } = await ask(method, path, grant.token, body);
      assert.equal(status === 403, needed > rank, `${role} at ${method} ${path}: ${status}`);
      assert.notEqual(status, 401);
    }
  }
});

test("taking a token back signs out the pages that were opened in its name", async () => {
  const { path } = await site.hub.client.loginLink({ role: "engineer", name: "sato" });
  const cookie = cookieOf(await fetch(site.hub.url + path, { redirect: "manual" }));
  assert.equal((await fetch(`${site.hub.url}/v1/me`, { headers: { cookie } })).status, 200);
  await ask("POST", "/v1/tokens", site.hub.token, { name: "sato", role: "viewer" });
  assert.equal((await fetch(`${site.hub.url}/v1/me`, { headers: { cookie } })).status, 401);
});

test("no secret reaches the database, the log or an answer", async () => {
  const { token } = await site.hub.client.enrol({ site: "demo", agent: "edge-4" });
  const { path } = await site.hub.client.loginLink();
  const code = path.split("=")[1] as string;
  await fetch(site.hub.url + path, { redirect: "manual" });
  const stored = Buffer.concat(
    await Promise.all(["hub.sqlite", "hub.sqlite-wal"].map((file) => readFile(join(site.dataDir, file)).catch(() => Buffer.alloc(0)))),
  );
  const { d } = JSON.parse(await readFile(join(site.dataDir, "keys/signing.json"), "utf8")).jwk as { d: string };
  const agents = JSON.stringify(await site.hub.client.agents());
  for (const secret of [token, code, site.hub.token, d]) {
    assert.ok(!stored.includes(secret), "in the database");
    assert.ok(!site.hub.log().includes(secret), "in the log");
    assert.ok(!agents.includes(secret), "in an answer");
  }
});

test("a login link opens the page once, with a cookie that scripts and other sites cannot use", async () => {
  const { path } = await site.hub.client.loginLink({ role: "labeller", name: "ito" });
  const first = await fetch(site.hub.url + path, { redirect: "manual" });
  assert.equal(first.status, 303);
  assert.equal(first.headers.get("location"), "/");
  assert.match(first.headers.get("set-cookie") ?? "", /HttpOnly/);
  assert.match(first.headers.get("set-cookie") ?? "", /SameSite=Strict/);
  const me = await fetch(`${site.hub.url}/v1/me`, { headers: { cookie: cookieOf(first) } });
  assert.deepEqual(await me.json(), { name: "ito", role: "labeller" });
  assert.equal((await fetch(site.hub.url + path, { redirect: "manual" })).status, 401);
});

test("a pasted token signs in too, from this page only", async () => {
  const form = (token: string, origin: string) =>
    fetch(`${site.hub.url}/login`, { method: "POST", redirect: "manual", headers: { origin }, body: new URLSearchParams({ token }) });
  assert.equal((await form(site.hub.token, site.hub.url)).status, 303);
  assert.equal((await form("wrong", site.hub.url)).status, 401);
  assert.equal((await form(site.hub.token, "https://evil.example")).status, 403);
});

test("a signed-in browser writes only from the hub's own page", async () => {
  const { path } = await site.hub.client.loginLink();
  const cookie = cookieOf(await fetch(site.hub.url + path, { redirect: "manual" }));
  const enrol = (headers: Record<string, string>) =>
    fetch(`${site.hub.url}/v1/agents`, {
      method: "POST",
      headers: { cookie, "content-type": "application/json", ...headers },
      body: JSON.stringify({ site: "demo", agent: "edge-5" }),
    });
  assert.equal((await enrol({})).status, 403);
  assert.equal((await enrol({ origin: "https://evil.example" })).status, 403);
  assert.equal((await enrol({ origin: "null" })).status, 403);
  assert.equal((await enrol({ origin: site.hub.url })).status, 201);
  const out = await fetch(`${site.hub.url}/logout`, { method: "POST", redirect: "manual", headers: { cookie, origin: site.hub.url } });
  assert.equal(out.status, 303);
  assert.equal((await fetch(`${site.hub.url}/v1/me`, { headers: { cookie } })).status, 401);
});

test("a request under another host's name is refused, so that a foreign name pointing here opens nothing", async () => {
  assert.equal(await statusUnderHost("evil.example"), 421);
  assert.equal(await statusUnderHost(new URL(site.hub.url).host), 200);
  assert.equal(await statusUnderHost("localhost:1"), 200);
});

test("every answer keeps the page to its own origin", async () => {
  for (const path of ["/login", "/v1/agents", "/nowhere"]) {
    const { headers } = await fetch(site.hub.url + path);
    assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'.*frame-ancestors 'none'/);
    assert.equal(headers.get("x-content-type-options"), "nosniff");
  }
});

test("bad input is refused with one clear line, and so is what does not exist", async () => {
  const post = (body: string, type = "application/json") =>
    fetch(`${site.hub.url}/v1/agents`, {
      method: "POST",
      headers: { authorization: `Bearer ${site.hub.token}`, "content-type": type },
      body,
    });
  assert.equal((await post("{")).status, 400);
  assert.equal((await post('{"site":"demo","agent":"edge-1"}', "text/plain")).status, 415);
  assert.equal((await post(JSON.stringify({ site: "x".repeat(2_000_000), agent: "a" }))).status, 413);
  const misspelt = await post('{"site":"demo","agnet":"edge-1"}');
  assert.equal(misspelt.status, 400);
  assert.match(((await misspelt.json()) as { message: string }).message, /agent/);
  const nowhere = await ask("GET", "/v1/nowhere", site.hub.token);
  assert.equal(nowhere.status, 404);
  assert.equal(((await nowhere.json()) as { code: string }).code, "not-found");
  const client = createHubClient({ url: site.hub.url, token: site.hub.token });
  await assert.rejects(client.label([{ sample: "0".repeat(64), label: "good", by: "me" }]), { code: "sample-unknown" });
});

function ask(method: string, path: string, token: string | null, body?: unknown): Promise<Response> {
  return fetch(site.hub.url + path, {
    method,
    headers: {
      ...(token !== null && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

function cookieOf(response: Response): string {
  return (response.headers.get("set-cookie") ?? "").split(";")[0] ?? "";
}

/** fetch does not let a caller choose the Host header; Node's own client does. */
function statusUnderHost(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { host, authorization: `Bearer ${site.hub.token}` };
    request(`${site.hub.url}/v1/agents`, { headers }, (response) => resolve(response.resume().statusCode ?? 0))
      .once("error", reject)
      .end();
  });
}
