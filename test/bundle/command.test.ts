/** Commands that change what is decided: taken from a trusted key, by the agent they are meant for, in time, and once. */
import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { before, test } from "node:test";
import {
  type CommandDoor,
  createKey,
  type PrivateKey,
  publicKey,
  signCommand,
  signKeyList,
  trustedKeys,
  verifyCommand,
} from "@kenpin/bundle";
import type { Command } from "@kenpin/schema";
import { sign } from "../../packages/bundle/src/keys.ts";

const NOW = new Date("2030-01-01T00:00:00Z");
let key: PrivateKey;
let door: CommandDoor;
before(async () => {
  key = await createKey("signing-1");
  door = { keys: new Map([["signing-1", publicKey(key)]]), site: "demo", agent: "edge-1", now: NOW, seen: () => false };
});

function teach(changes: Partial<Extract<Command, { name: "teach" }>> = {}): Command {
  const place = { site: "demo", agent: "edge-1", camera: "line" };
  return { name: "teach", id: randomUUID(), ...place, count: 20, expiresAt: "2030-01-01T00:01:00Z", ...changes };
}

async function refused(jws: string, code: string, changes: Partial<CommandDoor> = {}): Promise<void> {
  await assert.rejects(verifyCommand(jws, { ...door, ...changes }), { code });
}

test("a command signed by a key the root names is taken as it was given", async () => {
  const command = teach();
  assert.deepEqual(await verifyCommand(await signCommand(key, command), door), command);
});

test("a command for another agent or another site is refused", async () => {
  await refused(await signCommand(key, teach({ agent: "edge-2" })), "command-misaddressed");
  await refused(await signCommand(key, teach({ site: "elsewhere" })), "command-misaddressed");
});

test("a command that has run out is refused, to the second", async () => {
  const jws = await signCommand(key, teach({ expiresAt: "2030-01-01T00:00:00Z" }));
  await refused(jws, "command-expired");
  await verifyCommand(jws, { ...door, now: new Date("2029-12-31T23:59:59Z") });
});

test("a command is taken once", async () => {
  const taken = new Set<string>();
  const jws = await signCommand(key, teach());
  const once = { ...door, seen: (id: string) => taken.has(id) };
  taken.add((await verifyCommand(jws, once)).id);
  await refused(jws, "command-replayed", once);
  await verifyCommand(await signCommand(key, teach()), once);
});

test("a command of a stranger is refused, whatever name its key goes by", async () => {
  const strangers = [await createKey("signing-1"), await createKey("signing-2"), await createKey("")];
  for (const stranger of strangers) await refused(await signCommand(stranger, teach()), "signature-invalid");
});

test("a key whose time is over signs no more commands", async () => {
  const root = await createKey("root");
  const notAfter = "2029-12-31T23:59:59Z";
  const list = await signKeyList(root, { issuedAt: "2029-01-01T00:00:00Z", keys: [{ keyId: "signing-1", x: publicKey(key), notAfter }] });
  const keys = await trustedKeys(list, publicKey(root), NOW);
  assert.equal(keys.size, 0);
  await refused(await signCommand(key, teach()), "signature-invalid", { keys });
  const inTime = await trustedKeys(list, publicKey(root), new Date("2029-06-01T00:00:00Z"));
  await verifyCommand(await signCommand(key, teach()), { ...door, keys: inTime });
});

test("a command that was changed after it was signed is refused", async () => {
  const [header, payload, signature] = (await signCommand(key, teach())).split(".") as [string, string, string];
  const more = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(payload, "base64url").toString()), count: 500 }));
  await refused(`${header}.${more.toString("base64url")}.${signature}`, "signature-invalid");
  await refused(`${header}.${payload}.`, "signature-invalid");
  await refused(`${header}.${payload}`, "signature-invalid");
  await refused("", "signature-invalid");
});

test("no other algorithm is taken: neither none, nor the public key as a shared secret", async () => {
  const payload = Buffer.from(JSON.stringify(teach())).toString("base64url");
  const head = (alg: string) => Buffer.from(JSON.stringify({ alg, kid: "signing-1" })).toString("base64url");
  await refused(`${head("none")}.${payload}.`, "signature-invalid");
  const secret = Buffer.from(publicKey(key), "base64url");
  const mac = createHmac("sha256", secret)
    .update(`${head("HS256")}.${payload}`)
    .digest("base64url");
  await refused(`${head("HS256")}.${payload}.${mac}`, "signature-invalid");
});

test("signed nonsense is refused as nonsense", async () => {
  for (const text of ["{}", "null", "no JSON", JSON.stringify({ ...teach(), name: "erase" }), JSON.stringify({ ...teach(), count: 501 })]) {
    await refused(await sign(key, Buffer.from(text)), "command-invalid");
  }
  await refused(await sign(key, Buffer.from(JSON.stringify({ ...teach(), more: 1 }))), "command-invalid");
});
