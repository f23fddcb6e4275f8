/**
 * What these nodes use of Node-RED's runtime (4.1 and 5), as types. Node-RED hands over `RED`, one for each file of nodes, and calls a
 * node's constructor with itself as `this` at each deploy.
 */
export type Message = { payload?: unknown; topic?: unknown; [property: string]: unknown };
export type Send = (message: Message | (Message | null)[]) => void;
type Done = (error?: Error) => void;
export type Status = { fill?: "red" | "yellow" | "green" | "blue" | "grey"; shape?: "dot" | "ring"; text?: string };

export type RedNode = {
  id: string;
  name?: string;
  credentials?: Record<string, string | undefined>;
  on(event: "input", listener: (message: Message, send: Send, done: Done) => void): void;
  on(event: "close", listener: (done: () => void) => void): void;
  send: Send;
  /** With a message Catch nodes hear of it. */
  error: (why: string | Error, message?: Message) => void;
  warn: (why: string) => void;
  status: (status: Status) => void;
};

export type Red = {
  nodes: {
    createNode: (node: RedNode, config: object) => void;
    registerType: (
      type: string,
      make: (this: RedNode, config: object) => void,
      options?: { credentials?: Record<string, { type: "text" | "password" }> },
    ) => void;
    getNode: (id: string) => RedNode | null;
  };
};
