/**
 * `kenpin-agent doctor`: whether this device can do what its configuration asks, one line a check, each with what to do.
 * In: the configuration. Out: checks, the worst of which decides. May run beside the agent: it takes no lock, uses a client id of
 * its own, and removes what it writes.
 */
import { proveGolden } from "@kenpin/inspector";
import { type AgentConfig, errorLine } from "@kenpin/schema";
import { pino } from "pino";
import { type Check, checkBroker, checkCameras, checkClock, checkDisk, checkHub, checkNode } from "./doctor-surroundings.ts";
import { deviceName } from "./inspect/device.ts";
import { Launcher, type OnBuilding, towerOf } from "./inspect/launcher.ts";
import { type InstalledBundle, openInstalledBundle } from "./installed-bundle.ts";

/** A bundle that runs out sooner should be replaced now. */
const SOON_DAYS = 14;
const DAY_MS = 86_400_000;

export async function examine(config: AgentConfig, onBuilding: OnBuilding): Promise<Check[]> {
  const hub = await checkHub(config);
  const around = [checkNode(), await checkDisk(config), checkClock(hub.clockOffMs), await checkBroker(config), hub.check];
  return [...around, ...(await checkCameras(config)), ...(await checkInspecting(config, onBuilding))];
}

async function checkInspecting(config: AgentConfig, onBuilding: OnBuilding): Promise<Check[]> {
  let installed: InstalledBundle;
  try {
    installed = await openInstalledBundle(config);
  } catch (error) {
    const advice = "fetch a bundle of your own hub and name it in the configuration";
    return [{ name: "bundle", state: "failed", detail: errorLine(error), advice }];
  }
  try {
    return [bundleCheck(installed), ...(await checkInspector(config, installed, onBuilding))];
  } finally {
    await installed.remove();
  }
}

function bundleCheck({ bundle, manifest: { name, release, expiresAt, precision }, isInstalled }: InstalledBundle): Check {
  const detail = `${name}, release ${release}, ${precision}, ${isInstalled ? "installed" : "not installed yet"}, every file as signed`;
  const facts = { digest: bundle, release, precision, expiresAt, isInstalled };
  const left = Date.parse(expiresAt) - Date.now();
  if (left > SOON_DAYS * DAY_MS) return { name: "bundle", state: "ok", detail, facts };
  const when = left > 0 ? `runs out on ${expiresAt}` : `ran out on ${expiresAt}; it goes on deciding, and cannot be installed anew`;
  return { name: "bundle", state: "warning", detail: `${detail}; ${when}`, advice: "roll out a newer one from the hub", facts };
}

/** Starts an inspector as the agent would, with what was measured here or measuring it now, and proves it. */
async function checkInspector(config: AgentConfig, installed: InstalledBundle, onBuilding: OnBuilding): Promise<Check[]> {
  const launcher = new Launcher(config, pino({ level: "silent" }));
  try {
    const inspector = await launcher.start(installed, onBuilding);
    try {
      const { runtime, provider, passedOver } = inspector;
      const began = performance.now();
      const proof = await proveGolden(inspector, installed.folder, installed.manifest);
      const goldenMs = (performance.now() - began) / installed.manifest.golden.length;
      const tuning = await launcher.cache.read(towerOf(installed));
      const ran = Object.entries(tuning?.ranOn ?? {}).map(([name, share]) => `${name} ${Math.round(share * 100)} %`);
      const best = tuning && `${tuning.best.msPerTile.toFixed(2)} ms a tile`;
      return [
        {
          name: "runtime",
          state: "ok",
          detail: `onnxruntime ${runtime.version} in ${runtime.kind === "node" ? "Node" : "a Python process"}; offers ${runtime.offered.join(", ")}`,
          facts: runtime,
        },
        {
          name: "provider",
          state: "ok",
          detail: [`${provider} runs the model`, best, ran.length > 1 && `work by ${ran.join(", ")}`].filter(Boolean).join(", "),
          facts: { provider, ranOn: tuning?.ranOn ?? null, msPerTile: tuning?.best.msPerTile ?? null },
        },
        ...passedOver.map((one): Check => ({ name: "provider", state: "ok", detail: `${one.provider} does not: ${one.why}`, facts: one })),
        tuningCheck(config, tuning, installed),
        proof.ok
          ? {
              name: "golden images",
              state: "ok",
              detail: `${installed.manifest.golden.length} as expected, ${goldenMs.toFixed(1)} ms each`,
            }
          : {
              name: "golden images",
              state: "failed",
              detail: proof.reason,
              advice: "try providers: [cpu]; if it stays, report this device",
            },
        await cacheCheck(launcher),
      ];
    } finally {
      await inspector.close();
    }
  } catch (error) {
    return [{ name: "runtime", state: "failed", detail: errorLine(error), advice: "see inspector.runtime and inspector.providers" }];
  }
}

function tuningCheck(
  { threads }: AgentConfig,
  tuning: Awaited<ReturnType<Launcher["cache"]["read"]>>,
  { manifest }: InstalledBundle,
): Check {
  const name = "threads and tiles";
  if (!tuning)
    return { name, state: "warning", detail: "could not be measured; the runtime's own choice is used", advice: "run doctor again" };
  const { best, measured } = tuning;
  const chosen = threads === undefined ? "measured" : "of the configuration";
  const tiles = manifest.precision === "int8" ? "a whole frame at once, as 8 bits need" : `${best.batch} tiles at once`;
  const detail = `${best.threads} threads (${chosen}), ${tiles}, on ${deviceName()}`;
  return { name, state: "ok", detail, facts: { device: tuning.device, best, measured, at: tuning.at } };
}

async function cacheCheck({ cache, memoryLimitMb }: Launcher): Promise<Check> {
  const mb = (await cache.bytes()) / 2 ** 20;
  const detail = `built engines take ${mb.toFixed(1)} MB; an inspector may hold ${memoryLimitMb} MB of memory`;
  return { name: "limits", state: "ok", detail, facts: { engineMb: mb, memoryLimitMb } };
}
