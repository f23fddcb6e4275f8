/**
 * What every node but the link itself does alike: finds its link, shows in its status how the peers it needs are, and ends all it
 * began when it is closed. What goes wrong with a message goes to Catch nodes; nothing that is thrown here reaches the runtime.
 */
import { errorLine, KenpinError, parseAtDoor } from "@kenpin/schema";
import type { z } from "zod";
import type { Link, LinkNode, Peer } from "./kenpin-link.ts";
import type { Message, Red, RedNode, Send, Status } from "./node-red.ts";
import type { PeerState } from "./peer.ts";

export type Linked = {
  link: Link;
  /** Shows what the node did last, until a peer's state says otherwise. */
  show: (status: Status) => void;
  /** Run when the node is closed; nothing that begins after that comes to anything. */
  onClose: (end: () => void) => void;
  /** Aborted when the node is closed. */
  closed: AbortSignal;
};

const LOOK: Record<PeerState, Pick<Required<Status>, "fill" | "shape">> = {
  connected: { fill: "green", shape: "dot" },
  connecting: { fill: "yellow", shape: "ring" },
  away: { fill: "red", shape: "ring" },
  refused: { fill: "red", shape: "dot" },
  unset: { fill: "grey", shape: "ring" },
};
/** A peer that the link does not name is only worth a word where it names no other: not every node's user needs them all. */
const WORST: readonly PeerState[] = ["refused", "away", "connecting", "connected", "unset"];

/** Registers a node that is made from a parsed configuration and a link. */
export function registerLinked<S extends z.ZodType>(
  RED: Red,
  type: string,
  { schema, peers, start }: { schema: S; peers: readonly Peer[]; start: (node: RedNode, config: z.infer<S>, linked: Linked) => void },
): void {
  RED.nodes.registerType(type, function (this: RedNode, raw: object) {
    RED.nodes.createNode(this, raw);
    try {
      const config = parseAtDoor(schema, raw, type);
      const link = (RED.nodes.getNode((raw as { link?: string }).link ?? "") as LinkNode | null)?.kenpin;
      if (!link) throw new KenpinError("link-missing", "this node has no kenpin-link that works; choose one, or mend the one it has");
      start(this, config, attach(this, link, peers));
    } catch (error) {
      this.status({ fill: "red", shape: "ring", text: "kenpin.status.not-set-up" });
      this.error(errorLine(error));
      this.on("input", (_message, _send, done) => done(error as Error));
    }
  });
}

/** Answers each message; what it throws goes to the Catch nodes. */
export function onInput(node: RedNode, answer: (message: Message, send: Send) => Promise<void>): void {
  node.on("input", (message, send, done) => {
    answer(message, send).then(
      () => done(),
      (error: unknown) => done(new FlowError(error)),
    );
  });
}

/** What Catch nodes get in `msg.error`: one line, and the stable code in its name's place. */
class FlowError extends Error {
  readonly code: string;

  constructor(cause: unknown) {
    super(errorLine(cause), { cause });
    this.name = "kenpin";
    this.code = cause instanceof KenpinError ? cause.code : "unforeseen";
  }
}

function attach(node: RedNode, link: Link, peers: readonly Peer[]): Linked {
  const ended = new AbortController();
  const states = new Map<Peer, PeerState>(peers.map((peer) => [peer, "connecting"]));
  const leave = peers.map((peer) =>
    link.watch(peer, (state) => {
      states.set(peer, state);
      showPeers(node, states);
    }),
  );
  const ends: (() => void)[] = [];
  node.on("close", (done) => {
    ended.abort();
    for (const end of [...leave, ...ends]) end();
    done();
  });
  return { link, show: (status) => node.status(status), onClose: (end) => void ends.push(end), closed: ended.signal };
}

function showPeers(node: RedNode, states: ReadonlyMap<Peer, PeerState>): void {
  const worst = [...states].sort(([, a], [, b]) => WORST.indexOf(a) - WORST.indexOf(b))[0];
  if (!worst) return;
  const [peer, state] = worst;
  node.status({ ...LOOK[state], text: state === "connected" ? "kenpin.status.connected" : `kenpin.status.${peer}-${state}` });
}
