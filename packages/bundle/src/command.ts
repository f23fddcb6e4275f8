/**
 * Commands that change what is decided travel signed. An agent takes one only from a key its root names, addressed to
 * it by site and name, before it runs out, and once.
 */
import { Command, KenpinError } from "@kenpin/schema";
import { claimedKeyId, parseJson, type PrivateKey, sign, verify } from "./keys.ts";

export async function signCommand(key: PrivateKey, command: Command): Promise<string> {
  return sign(key, new TextEncoder().encode(JSON.stringify(Command.parse(command))));
}

export type CommandDoor = { keys: ReadonlyMap<string, string>; site: string; agent: string; now: Date; seen: (id: string) => boolean };

export async function verifyCommand(jws: string, { keys, site, agent, now, seen }: CommandDoor): Promise<Command> {
  const key = keys.get(claimedKeyId(jws));
  if (!key) throw new KenpinError("signature-invalid", "the command is not signed by a key this agent trusts");
  const command = Command.safeParse(parseJson(await verify(jws, key, "command")));
  if (!command.success) throw new KenpinError("command-invalid", `the command is malformed: ${command.error.issues[0]?.message}`);
  if (command.data.site !== site || command.data.agent !== agent)
    throw new KenpinError("command-misaddressed", "the command is for another agent");
  if (new Date(command.data.expiresAt) <= now) throw new KenpinError("command-expired", "the command has run out; send it again");
  if (seen(command.data.id)) throw new KenpinError("command-replayed", "the command was taken before; send a new one");
  return command.data;
}
