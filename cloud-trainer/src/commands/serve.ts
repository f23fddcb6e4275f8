/**
 * `kenpin serve`: the hub as a service. Prints one line with its address once it answers; logs go to stderr as JSON lines.
 * SIGTERM or SIGINT ends it within five seconds.
 */
import { resolve } from "node:path";
import { parseAtDoor } from "@kenpin/schema";
import { Command } from "commander";
import { z } from "zod";

const Options = z.strictObject({
  data: z.string().min(1),
  broker: z.url({ protocol: /^mqtts?$/, error: "an MQTT address, e.g. mqtt://127.0.0.1:1883" }),
  host: z.string().min(1),
  port: z.coerce.number().int().min(0).max(65_535),
  allowHost: z.array(z.string().min(1)).default([]),
  logLevel: z.enum(["debug", "info", "warn", "error"]),
  json: z.boolean().default(false),
});
/** Past this the process ends whatever still hangs; what is committed is safe. */
const PATIENCE_MS = 4500;

export function serveCommand(): Command {
  return new Command("serve")
    .description("run the hub: ingest, pages, bundles, runs and rollouts")
    .requiredOption("--data <dir>", "everything the hub keeps; made at the first start")
    .requiredOption("--broker <url>", "MQTT broker, e.g. mqtt://127.0.0.1:1883")
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <n>", "port to listen on; 0 takes a free one", "8420")
    .option("--allow-host <name...>", "further names under which people reach this hub, e.g. behind a proxy")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .option("--json", "print the ready line as JSON")
    .action(async (given: unknown) => {
      const options = parseAtDoor(Options, given, "kenpin serve");
      const [{ startHub }, { pino }] = await Promise.all([import("../pipeline.ts"), import("pino")]);
      const log = pino({ name: "hub", level: options.logLevel }, pino.destination(2));
      const hub = await startHub({
        dataDir: resolve(options.data),
        brokerUrl: options.broker,
        host: options.host,
        port: options.port,
        allowHosts: options.allowHost,
        trainer: [process.execPath, ...process.execArgv, process.argv[1] as string],
        log,
      });
      process.stdout.write(options.json ? `${JSON.stringify({ url: hub.url })}\n` : `kenpin hub ready at ${hub.url}\n`);
      endOnSignal(hub.stop);
    });
}

function endOnSignal(stop: () => Promise<void>): void {
  const end = () => {
    setTimeout(() => process.exit(1), PATIENCE_MS).unref();
    void stop().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, end);
}
