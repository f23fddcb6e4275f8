/**
 * `kenpin-agent status`: how an agent stands. In: the configuration. Out: what its data folder tells, whether it runs or not, the last
 * parts that failed, and, where it runs and serves its page, its own snapshot. Nothing is written, no lock is taken.
 */
import { type AgentConfig, AgentSnapshot, errorLine } from "@kenpin/schema";
import type { Command } from "commander";
import { databaseFile, openForReading } from "./database.ts";
import { loadConfig } from "./operate/config.ts";
import { pageClient } from "./operate/page-client.ts";
import { readStanding, type Standing } from "./operate/standing.ts";
import { newestVerdicts } from "./record/history.ts";
import { readQuarantine } from "./sound-database.ts";

type Print = (json: true | undefined, value: unknown, text: string) => void;
type Fail = { at: string; camera: string; triggerId: string | null; score: number | null };
type AgentStanding = Standing & {
  lastFails: Fail[];
  /** A damaged database that lies beside the new one. */
  quarantine: string | null;
  /** null where the agent does not run, or its page does not answer: `why` says which. */
  running: AgentSnapshot | null;
  why: string | null;
};

const FAILS = 5;
const PATIENCE_MS = 3000;
const MB = 1024 ** 2;

export function addStatusCommand(program: Command, print: Print): void {
  program
    .command("status")
    .description("how the agent stands: what its data folder tells, and what it says itself where it runs")
    .requiredOption("--config <file>", "the agent's YAML file")
    .option("--json", "print JSON")
    .action(async ({ config, json }: { config: string; json?: true }) => {
      const standing = await standingOf(await loadConfig(config));
      print(json, standing, statusText(standing));
    });
}

async function standingOf(config: AgentConfig): Promise<AgentStanding> {
  const standing = readStanding(config);
  const db = openForReading(databaseFile(config.dataDir));
  try {
    const lastFails = newestVerdicts(db, "fail", FAILS).map(({ capturedAt: at, camera, triggerId, score }): Fail => {
      return { at, camera, triggerId: triggerId ?? null, score };
    });
    const quarantine = readQuarantine(db, config.dataDir)?.file ?? null;
    return { ...standing, lastFails, quarantine, ...(await askAgent(config, standing.pid)) };
  } finally {
    db.close();
  }
}

async function askAgent(config: AgentConfig, pid: number | null): Promise<Pick<AgentStanding, "running" | "why">> {
  if (pid === null) return { running: null, why: "the agent does not run" };
  if (config.page === false) return { running: null, why: "page is false, so the running agent cannot be asked" };
  try {
    const page = await pageClient(config);
    return { running: await page.ask(AgentSnapshot, "GET", "/v1/snapshot", { timeoutMs: PATIENCE_MS }), why: null };
  } catch (error) {
    return { running: null, why: errorLine(error) };
  }
}

function statusText({ running, why, lastFails, ...standing }: AgentStanding): string {
  const plain = Object.entries(standing).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  const fails = lastFails.map(
    ({ at, camera, triggerId, score }) => `failed: ${at} ${camera} ${triggerId ?? ""} ${score?.toFixed(3) ?? "-"}`,
  );
  return [...plain, ...fails, ...(running ? runningLines(running) : [`running: no (${why})`])].join("\n");
}

function runningLines({ startedAt, running, inspector, ...rest }: AgentSnapshot): string[] {
  const { verdicts, outbox, disk, cameras, drift, health, crashes, broker, lastError } = rest;
  const { state, provider } = inspector;
  const room = disk.roomBytes === null ? "not measured yet" : `${Math.floor(disk.roomBytes / MB)} MB`;
  return [
    `running: since ${startedAt}, ${running.name} release ${running.release}, ${running.references} references`,
    `inspector: ${state} on ${provider}, ${crashes} crashes`,
    `verdicts: ${verdicts.pass} pass, ${verdicts.fail} fail, ${verdicts.unknown} unknown, last ${verdicts.lastAt ?? "none"}`,
    `broker: ${broker}, ${outbox.rows} rows wait (${(outbox.bytes / MB).toFixed(1)} MB), ${outbox.shed} shed`,
    `disk: room ${room}${health.diskShort ? ", SHORT" : ""}, pictures ${(disk.pictureBytes / MB).toFixed(1)} MB, history ${(disk.historyBytes / MB).toFixed(1)} MB`,
    ...cameras.map(({ name, state: now, frames }) => `camera ${name}: ${now}, ${frames.answered} of ${frames.offered} answered`),
    ...drift.map(
      ({ camera, state: now, p, most }) => `drift ${camera}: ${now}${p === null ? "" : `, p ${p.toPrecision(2)}, most ${most}`}`,
    ),
    `last error: ${lastError ? `${lastError.at} ${lastError.event} ${lastError.why ?? ""}` : "none"}`,
  ];
}
