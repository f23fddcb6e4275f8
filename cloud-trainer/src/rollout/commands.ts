/**
 * Commands to one agent: signed with the hub's signing key, published once, answered within half a minute or not at all.
 * A command is not retained: an agent that is away must not find an order from last week when it comes back.
 */
import { randomUUID } from "node:crypto";
import { type PrivateKey, signCommand } from "@kenpin/bundle";
import { Refusal } from "@kenpin/page";
import { agentTopics, type Command, type CommandRequest, Reply, type SignedCommand } from "@kenpin/schema";
import type { Message, Publish } from "../ports.ts";

const PATIENCE_MS = 30_000;
/** Longer than the wait, because a line computer's clock may run a little ahead. */
const LIFE_MS = 120_000;
/** Each holds a request open; a page that hangs on its button must not fill the hub. */
const PENDING = 100;

type Waiting = { site: string; agent: string; answer: (reply: Reply) => void; fail: (error: Error) => void };
export type Commands = ReturnType<typeof startCommands>;

export function startCommands({ signingKey, publish }: { signingKey: PrivateKey; publish: Publish }) {
  const waiting = new Map<string, Waiting>();

  const send = async (site: string, agent: string, request: CommandRequest): Promise<Reply> => {
    if (waiting.size >= PENDING) throw new Refusal(503, "too-many-commands", `${PENDING} commands wait for their reply; try again shortly`);
    const id = randomUUID();
    const expiresAt = new Date(Date.now() + LIFE_MS).toISOString();
    const command: Command = { ...request, id, site, agent, expiresAt };
    const topics = agentTopics(site, agent);
    const jws = await signCommand(signingKey, command);
    const signed: SignedCommand = { jws, replyTo: topics.reply(id), correlationId: id, expiresAt };
    let timer: NodeJS.Timeout | undefined;
    const reply = new Promise<Reply>((answer, fail) => {
      waiting.set(id, { site, agent, answer, fail });
      timer = setTimeout(() => fail(noReply(site, agent, request.name)), PATIENCE_MS);
    });
    reply.catch(() => undefined); // it may fail while the publication below still waits
    try {
      await publish(topics.command(request.name), signed);
      return await reply;
    } finally {
      clearTimeout(timer);
      waiting.delete(id);
    }
  };

  return {
    send,
    /** A reply counts only from the agent that was asked; news of progress is not yet one. */
    heard: (site: string, agent: string, id: string, { payload }: Message): boolean => {
      const reply = Reply.safeParse(payload);
      const asked = waiting.get(id);
      if (!reply.success || reply.data.correlationId !== id) return false;
      if (asked?.site === site && asked.agent === agent && reply.data.state !== "progress") asked.answer(reply.data);
      return true;
    },
    stop: () => {
      for (const { fail } of waiting.values()) fail(new Refusal(503, "hub-stopping", "the hub is stopping; send the command again"));
    },
  };
}

function noReply(site: string, agent: string, name: string): Refusal {
  return new Refusal(
    504,
    "agent-silent",
    `${site}/${agent} did not answer "${name}" within ${PATIENCE_MS / 1000} s; check that it is online and uses this broker, then send it again`,
  );
}
