/** `kenpin-agent page-link`: opens the page of a running agent. Results go to stdout, as text or, with --json, as JSON. */
import type { Command } from "commander";
import { loadConfig } from "./operate/config.ts";
import { pageLink } from "./operate/page-link.ts";

type Print = (json: true | undefined, value: unknown, text: string) => void;

export function addSetupCommands(program: Command, print: Print): void {
  program
    .command("page-link")
    .description("print a link that opens the running agent's page once, within five minutes")
    .requiredOption("--config <file>", "the agent's YAML file")
    .option("--name <name>", "whose name the audit trail shows", "operator")
    .option("--json", "print JSON")
    .action(async ({ config, name, json }: { config: string; name: string; json?: true }) => {
      const link = await pageLink(await loadConfig(config), name);
      print(json, link, link.url);
    });
}
