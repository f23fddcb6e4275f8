/**
 * Commands from the hub: only signed ones, addressed to this agent, in time and once. Every one is answered and logged.
 * In: SignedCommand on cmd/<name>. Out: a Reply on reply/<correlationId>, always on this agent's own topic, whatever the
 * message asks for. A command's id is remembered before it acts, so a crash can never make it act twice.
 */
import { verifyCommand } from "@kenpin/bundle";
import { type Command, errorLine, KenpinError, type Reply, SignedCommand } from "@kenpin/schema";
import type { Logger } from "pino";
import type { Database } from "../database.ts";

export type CommandsOptions = {
  db: Database;
  site: string;
  agent: string;
  keys: () => Promise<ReadonlyMap<string, string>>;
  now: () => Date;
  /** Does it, or throws a KenpinError that says why not. */
  act: (command: Command) => void;
  reply: (reply: Reply) => void;
  log: Logger;
};

/** Kept long past their expiry, since the clock may be set back. */
const REMEMBERED_DAYS = 30;
const MESSAGE_LIMIT = 500;

export class Commands {
  #options: CommandsOptions;
  #turn: Promise<void> = Promise.resolve();

  constructor(options: CommandsOptions) {
    this.#options = options;
  }

  /** `name` is the topic's last level; it must be the signed command's too. */
  take(name: string, payload: unknown): void {
    this.#turn = this.#turn.then(() => this.#take(name, payload));
  }

  /** Resolves once what came in so far is answered. */
  settled(): Promise<void> {
    return this.#turn;
  }

  async #take(name: string, payload: unknown): Promise<void> {
    const { log } = this.#options;
    const parsed = SignedCommand.safeParse(payload);
    if (!parsed.success) {
      log.warn({ name, why: parsed.error.issues[0]?.message }, "command-malformed");
      return;
    }
    const { jws, correlationId } = parsed.data;
    try {
      const message = await this.#perform(name, jws);
      this.#reply(correlationId, "accepted", message);
    } catch (error) {
      log.warn({ name, correlationId, why: errorLine(error) }, "command-refused");
      this.#reply(correlationId, "refused", errorLine(error));
    }
  }

  async #perform(name: string, jws: string): Promise<string> {
    const { db, site, agent, keys, now, act, log } = this.#options;
    const seen = (id: string) => db.prepare("SELECT 1 FROM commands WHERE id = ?").get(id) !== undefined;
    const command = await verifyCommand(jws, { keys: await keys(), site, agent, now: now(), seen });
    if (command.name !== name) {
      throw new KenpinError("command-misaddressed", `the command came as "${name}" but was signed as "${command.name}"`);
    }
    this.#remember(command);
    act(command);
    log.info({ id: command.id, command: command.name, camera: command.camera }, "command-accepted");
    return `${command.name} on camera ${command.camera}`;
  }

  #remember({ id, expiresAt }: Command): void {
    const { db, now } = this.#options;
    const old = new Date(now().getTime() - REMEMBERED_DAYS * 86_400_000).toISOString();
    db.prepare("INSERT INTO commands (id, expires_at) VALUES (?, ?)").run(id, new Date(expiresAt).toISOString());
    db.prepare("DELETE FROM commands WHERE expires_at < ?").run(old);
  }

  #reply(correlationId: string, state: Reply["state"], message: string): void {
    this.#options.reply({ schemaVersion: 1, correlationId, ok: state !== "refused", state, message: message.slice(0, MESSAGE_LIMIT) });
  }
}
