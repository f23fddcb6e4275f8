/**
 * `kenpin-agent`: run, check, verify, status, doctor, bench. Results go to stdout, as text or, with --json, as JSON; an error is one
 * line on stderr and a non-zero exit. `run` logs JSON lines on stdout.
 */
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unpackBundle } from "@kenpin/bundle";
import { AgentConfig, errorLine, KenpinError, parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { pino } from "pino";
import { startAgent } from "./agent.ts";
import { addDeviceCommands } from "./device-commands.ts";
import { loadConfig } from "./operate/config.ts";
import { rememberErrors } from "./operate/last-error.ts";
import { addSetupCommands } from "./setup-commands.ts";
import { addStatusCommand } from "./status-command.ts";
import { AGENT_VERSION } from "./version.ts";

/** systemd and the like kill after a while; what is in hand is answered within this, or stays for the next start. */
const STOP_LIMIT_MS = 4500;

const program = new Command("kenpin-agent")
  .description("Inspects the frames of line cameras on this computer, and reports to its hub")
  .version(AGENT_VERSION)
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "")) })
  .showHelpAfterError(false);

program
  .command("run")
  .description("inspect until stopped")
  .requiredOption("--config <file>", "the agent's YAML file")
  .action(async ({ config }: { config: string }) => run(config));

program
  .command("check")
  .description("read the configuration and say whether it is right")
  .requiredOption("--config <file>", "the agent's YAML file")
  .option("--json", "print JSON")
  .action(async ({ config: file, json }: { config: string; json?: true }) => {
    const { site, agent, dataDir, cameras } = await loadConfig(file);
    print(json, { site, agent, dataDir, cameras: cameras.map(({ name }) => name) }, `${file} is right: agent ${agent} at ${site}`);
  });

program
  .command("verify <bundle>")
  .description("prove a .kenpin file as an agent with this root key would")
  .requiredOption("--root-key <key>", "the pinned public root key (Ed25519, base64url)")
  .option("--json", "print JSON")
  .action(async (bundle: string, { rootKey, json }: { rootKey: string; json?: true }) => verify(bundle, rootKey, json));

addDeviceCommands(program, print);
addSetupCommands(program, print);
addStatusCommand(program, print);

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`kenpin-agent: ${errorLine(error)}\n`);
  process.exitCode = 1;
}

async function run(file: string): Promise<void> {
  const config = await loadConfig(file);
  const errors = rememberErrors();
  const log = pino({ level: config.logLevel, base: { agent: config.agent }, hooks: errors.hooks });
  const agent = await startAgent(config, log, errors.last);
  log.info({ version: AGENT_VERSION, pid: process.pid, cameras: config.cameras.length }, "agent-running");
  let isStopping = false;
  const stop = () => {
    isStopping = true;
    setTimeout(() => process.exit(), STOP_LIMIT_MS).unref();
    void agent.stop().then(
      () => log.info("agent-stopped"),
      (error) => log.error({ why: errorLine(error) }, "agent-stopped-badly"),
    );
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  agent.started.catch((error: unknown) => {
    if (isStopping) return; // what is stopped before it started has not failed
    process.stderr.write(`kenpin-agent: ${errorLine(error)}\n`);
    process.exitCode = 1;
    stop();
  });
}

async function verify(bundle: string, rootKey: string, json: true | undefined): Promise<void> {
  await access(bundle).catch((cause: unknown) => {
    throw new KenpinError("bundle-missing", `${bundle} cannot be read; pass a .kenpin file`, { cause });
  });
  const key = parseAtDoor(AgentConfig.shape.rootKey, rootKey, "--root-key");
  const folder = await mkdtemp(join(tmpdir(), "kenpin-verify-"));
  try {
    const options = { tar: bundle, outDir: join(folder, "bundle"), rootKey: key, now: new Date(), newestRelease: 0 };
    const { manifest, digest } = await unpackBundle({ ...options, agentVersion: AGENT_VERSION });
    const { name, release, createdAt, expiresAt, precision, parameters } = manifest;
    const text = `${bundle} is good: ${name}, release ${release}, digest ${digest}`;
    print(json, { digest, name, release, createdAt, expiresAt, precision, parameters }, text);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function print(json: true | undefined, value: unknown, text: string): void {
  process.stdout.write(`${json ? JSON.stringify(value) : text}\n`);
}
