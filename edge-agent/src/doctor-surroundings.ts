/** What an agent needs around it: Node, disk, clock, broker, hub and cameras. One Check each; nothing is kept. */
import { constants, existsSync } from "node:fs";
import { access, readdir, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { connectLink, type TlsMaterial } from "@kenpin/messaging";
import { type AgentConfig, errorLine } from "@kenpin/schema";
import { readMaterial } from "./report/broker-credentials.ts";
import { firstPicture } from "./capture/first-picture.ts";
import type { LiveSource } from "./capture/open-source.ts";

export type Check = {
  name: string;
  state: "ok" | "warning" | "failed";
  detail: string;
  /** What to do about it. */
  advice?: string;
  /** The same for programs. */
  facts?: Record<string, unknown>;
};

const LEAST_NODE = [22, 12] as const;
const DISK_MB = { failed: 200, warning: 1024 };
/** No device of ours was made before; a clock that has lost its battery begins in 1970. */
const EARLIEST = Date.parse("2025-01-01T00:00:00Z");
const CLOCK_OFF_MS = 300_000;
const PATIENCE_MS = 5000;
/** A stream's first whole picture may take seconds. */
const FIRST_PICTURE_MS = 15_000;
/** Asked for only to see whether the token is taken. */
const NO_BUNDLE = "0".repeat(64);
/** More than a camera takes in a minute: something does not take them. */
const MANY_WAITING = 100;

export function checkNode(): Check {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const isNew = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1]);
  const check: Check = {
    name: "node",
    state: isNew ? "ok" : "failed",
    detail: `${process.version} on ${process.platform} ${process.arch}`,
  };
  return isNew ? check : { ...check, advice: `install Node ${LEAST_NODE.join(".")} or newer` };
}

export async function checkDisk({ dataDir }: AgentConfig): Promise<Check> {
  let place = dataDir;
  while (!existsSync(place)) place = dirname(place);
  try {
    await access(place, constants.W_OK);
    const { bavail, bsize } = await statfs(place);
    const mb = Math.floor((bavail * bsize) / 2 ** 20);
    const check = { name: "disk", detail: `${mb} MB free for ${dataDir}`, facts: { freeMb: mb } };
    if (mb >= DISK_MB.warning) return { ...check, state: "ok" };
    return { ...check, state: mb < DISK_MB.failed ? "failed" : "warning", advice: "free the disk, or move dataDir to a larger one" };
  } catch (error) {
    return { name: "disk", state: "failed", detail: errorLine(error), advice: `let this user write to ${place}` };
  }
}

/** `offMs` against the hub's clock; null where the hub did not say. */
export function checkClock(offMs: number | null): Check {
  const check = { name: "clock", detail: new Date().toISOString(), facts: { offMs } };
  const advice = "set the clock, or start a time service; order does not rest on it, expiry does";
  if (Date.now() < EARLIEST) return { ...check, state: "failed", advice };
  if (offMs === null) return { ...check, state: "ok", detail: `${check.detail}, not compared` };
  const off = `${Math.round(Math.abs(offMs) / 1000)} s from the hub's`;
  if (Math.abs(offMs) <= CLOCK_OFF_MS) return { ...check, state: "ok", detail: `${check.detail}, ${off}` };
  return { ...check, state: "warning", detail: `${check.detail}, ${off}`, advice };
}

export async function checkBroker({ site, agent, broker }: AgentConfig): Promise<Check> {
  let tls: TlsMaterial;
  try {
    tls = readMaterial(broker);
  } catch (error) {
    const advice = "name PEM files that this user may read; inspection goes on without the broker";
    return { name: "broker", state: "failed", detail: errorLine(error), advice };
  }
  const { promise: told, resolve: tell } = Promise.withResolvers<Check>();
  const advice = "see that the broker runs and that broker.url, username and password are right; inspection goes on without it";
  let last = "no answer";
  const timer = setTimeout(() => tell({ name: "broker", state: "failed", detail: `${host(broker.url)}: ${last}`, advice }), PATIENCE_MS);
  const link = connectLink({
    ...broker,
    tls: () => tls,
    clientId: `kenpin-${site}-${agent}-doctor`, // the agent's own would end the agent's connection
    onState: (state, detail) => {
      if (state === "connected") tell({ name: "broker", state: "ok", detail: `${host(broker.url)} answers, ${detail}` });
      else if (detail !== "the broker is away") last = detail;
    },
  });
  try {
    return await told;
  } finally {
    clearTimeout(timer);
    await link.close();
  }
}

export async function checkHub({ hub: { url, token } }: AgentConfig): Promise<{ check: Check; clockOffMs: number | null }> {
  try {
    const response = await fetch(new URL(`/v1/bundles/${NO_BUNDLE}`, url), {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    await response.body?.cancel();
    const date = Date.parse(response.headers.get("date") ?? "");
    const clockOffMs = Number.isNaN(date) ? null : Date.now() - date;
    const refused = response.status === 401 || response.status === 403;
    const check: Check = refused
      ? {
          name: "hub",
          state: "failed",
          detail: `${host(url)} refuses this agent's token (${response.status})`,
          advice: "enrol the agent again",
        }
      : { name: "hub", state: "ok", detail: `${host(url)} answers and takes this agent's token` };
    return { check, clockOffMs };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const advice = "see that the hub runs and that hub.url is right; inspection goes on without it";
    return { check: { name: "hub", state: "failed", detail: `${host(url)}: ${errorLine(cause)}`, advice }, clockOffMs: null };
  }
}

export async function checkCameras({ cameras }: AgentConfig): Promise<Check[]> {
  const checks: Check[] = [];
  for (const { name, source } of cameras) {
    if (source.kind === "folder") checks.push(await checkFolder(name, source.path));
    else if (source.kind === "push")
      checks.push({ name: `camera ${name}`, state: "ok", detail: "frames are pushed through the line door" });
    else checks.push(await checkLive(name, source)); // one after another, as the agent opens them
  }
  return checks;
}

async function checkLive(camera: string, source: LiveSource): Promise<Check> {
  const name = `camera ${camera}`;
  try {
    const { length } = await firstPicture(source, FIRST_PICTURE_MS);
    return { name, state: "ok", detail: `${source.kind}, a picture of ${length} bytes came`, facts: { bytes: length } };
  } catch (error) {
    const advice = "see that the camera is on and its source is right; one that only one program may open is busy while the agent runs";
    return { name, state: "failed", detail: `${source.kind}: ${errorLine(error)}`, advice };
  }
}

async function checkFolder(camera: string, path: string): Promise<Check> {
  const name = `camera ${camera}`;
  try {
    if (!(await stat(path)).isDirectory()) throw new Error(`${path} is no folder`);
    await access(path, constants.R_OK | constants.W_OK); // a frame that was answered is removed
    const waiting = (await readdir(path)).filter((file) => !file.startsWith(".")).length;
    const check = { name, detail: `${path}, ${waiting} frames waiting`, facts: { waiting } };
    if (waiting < MANY_WAITING) return { ...check, state: "ok" };
    return { ...check, state: "warning", advice: "start the agent, or see whether this device keeps up (kenpin-agent bench)" };
  } catch (error) {
    return { name, state: "failed", detail: errorLine(error), advice: `make ${path} a folder that this user may read and write` };
  }
}

/** Without what a URL may carry of a login. */
function host(url: string): string {
  const { protocol, host: at } = new URL(url);
  return `${protocol}//${at}`;
}
