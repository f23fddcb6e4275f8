/**
 * `kenpin-agent page-link` opens the page of a running agent; `kenpin-agent setup` goes through its set-up on a terminal, or by options
 * alone. Results go to stdout, as text or, with --json, as JSON.
 */
import { KenpinError, parseAtDoor } from "@kenpin/schema";
import type { Command } from "commander";
import { loadConfig } from "./operate/config.ts";
import { pageClient } from "./operate/page-client.ts";
import { pageLink } from "./operate/page-link.ts";
import { openScreen, type Screen } from "./operate/wizard/terminal/screen.ts";
import { runSetup, SetupOptions } from "./operate/wizard/terminal/setup-run.ts";
import { textsOf } from "./operate/wizard/terminal/texts.ts";

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
  program
    .command("setup")
    .description("choose words, reference pictures and a threshold on the running agent, and save them as signed settings")
    .requiredOption("--config <file>", "the agent's YAML file")
    .option("--pictures <folder>", "pictures to look at, not sorted")
    .option("--good <folder>", "pictures of good parts")
    .option("--bad <folder>", "pictures of bad parts; none are needed")
    .option("--object <text>", "what it is, in English or Japanese")
    .option("--defects <words>", "what may be wrong, separated by commas")
    .option("--sheet <file>", "a part sheet in place of --object and --defects")
    .option("--cut <number>", "the threshold, from 0 to 1; the proposed undecided band stays about it")
    .option("--proposed", "take the proposed threshold")
    .option("--as-they-came", "the labelled pictures came from the line as they are, none was picked: only then anything is promised")
    .option("--maps <folder>", "write every picture's heat map there, PNG")
    .option("--keep", "go on with the pictures and words that the agent's set-up already holds")
    .option("--by <name>", "whose name the settings and the audit trail show")
    .option("--yes", "ask nothing: what no option says stays empty, and the threshold is the proposed one")
    .option("--json", "print JSON")
    .action((given: unknown) => setUp(parseAtDoor(SetupOptions, given, "kenpin-agent setup"), print));
}

async function setUp(options: SetupOptions, print: Print): Promise<void> {
  const config = await loadConfig(options.config);
  if (config.page === false) {
    throw new KenpinError(
      "page-away",
      "a set-up goes through the agent's page, and the configuration has page: false; set page and start the agent",
    );
  }
  const screen = screenFor(options);
  const t = textsOf(process.env);
  const result = await runSetup({ page: await pageClient(config), screen, t }, options);
  const json = options.json || undefined;
  if (result) print(json, result, t.saved(result.saved.version, result.saved.settings.slice(0, 8)));
  else print(json, { saved: null }, t.notSaved);
}

/** Asks where somebody sits at a terminal; else options must say by which threshold parts will be stopped. */
function screenFor({ yes, json, cut, proposed }: SetupOptions): Screen {
  const { stdin: input, stdout, stderr: asides } = process;
  const isAsking = !yes && input.isTTY && asides.isTTY;
  if (!isAsking && !yes && cut === undefined && !proposed) {
    throw new KenpinError("nobody-to-ask", "there is no terminal to ask on; pass --proposed, --cut <number> or --yes");
  }
  const lines = json ? (isAsking ? asides : null) : stdout;
  return openScreen({ isAsking, input, lines, asides });
}
