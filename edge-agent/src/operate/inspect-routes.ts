/**
 * GET and POST /v1/inspect of the line door: pictures of a program's own, and their verdicts.
 * In: JPEG or PNG bytes of at most 32 MB, or JSON with words beside them. Out: an InspectAnswer. Pictures are looked at one at a
 * time and only so many wait: the line's own cameras share the inspector and come first.
 */
import { readLimited, Refusal } from "@kenpin/page";
import {
  type InspectAnswer,
  InspectQuery,
  InspectRequest,
  type InspectState,
  KenpinError,
  parseAtDoor,
  type WordsRequest,
} from "@kenpin/schema";
import { type Context, Hono } from "hono";

/** A picture that a program asks about; `askedAt` is performance.now() of its arrival. */
export type Asked = {
  bytes: Uint8Array;
  words: WordsRequest | null;
  map: boolean;
  trigger: string | null;
  part: string | null;
  askedAt: number;
};
export type InspectRoutesOptions = {
  /** Most pictures in hand at once. */
  waiting: number;
  state: () => Omit<InspectState, "waiting">;
  answer: (asked: Asked) => Promise<{ verdict: InspectAnswer["verdict"]; map: Uint8Array | null }>;
};

const PICTURE_LIMIT_BYTES = 32 * 1024 * 1024;
/** Base64 of such a picture, and the words. */
const JSON_LIMIT_BYTES = 44 * 1024 * 1024;
/** What is wrong with the words, or with the bundle they are said to. */
const WORDS_FAULTS = ["word-unknown", "prompt-too-long", "text-tower-missing"];

export function inspectRoutes({ waiting, state, answer }: InspectRoutesOptions): Hono {
  const routes = new Hono();
  const queue = new Queue(waiting);
  routes.get("/v1/inspect", (c) => c.json({ ...state(), waiting: queue.waiting } satisfies InspectState));
  routes.post("/v1/inspect", async (c) => {
    const askedAt = performance.now();
    const { map, trigger = null, part = null } = parseAtDoor(InspectQuery, c.req.query(), "the query");
    // Counted from here on, so that what is still arriving cannot pile up either.
    const asked = queue.take(async () => ({ ...(await readBody(c)), map: map === "" || map === "1", trigger, part, askedAt }), answer);
    const { verdict, map: drawn } = await asked.catch((error: unknown) => {
      throw error instanceof KenpinError && WORDS_FAULTS.includes(error.code) ? new Refusal(422, error.code, error.message) : error;
    });
    return c.json({ verdict, ...(drawn && { map: Buffer.from(drawn).toString("base64") }) } satisfies InspectAnswer);
  });
  return routes;
}

/** One at a time in the order they are complete, and only so many at once. */
class Queue {
  waiting = 0;
  #most: number;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(most: number) {
    this.#most = most;
  }

  async take<A, B>(read: () => Promise<A>, answer: (asked: A) => Promise<B>): Promise<B> {
    if (this.waiting >= this.#most) {
      throw new Refusal(
        503,
        "inspector-busy",
        `${this.#most} pictures wait already; send this one again, or raise lineDoor.inspect.waiting`,
      );
    }
    this.waiting++;
    try {
      const asked = await read();
      const answered = this.#turn.then(() => answer(asked));
      this.#turn = answered.catch(() => undefined);
      return await answered;
    } finally {
      this.waiting--;
    }
  }
}

async function readBody(c: Context): Promise<{ bytes: Uint8Array; words: WordsRequest | null }> {
  const type = (c.req.header("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  if (type === "application/json") {
    const text = new TextDecoder().decode(await readLimited(c.req.raw.body, JSON_LIMIT_BYTES, "the request"));
    const { image, words = null } = parseAtDoor(InspectRequest, parseJson(text), "the request");
    return { bytes: picture(Buffer.from(image, "base64")), words };
  }
  if (!["image/jpeg", "image/png", "application/octet-stream"].includes(type)) {
    throw new Refusal(415, "picture-expected", `a picture is taken as image/jpeg, image/png or JSON, not as "${type.slice(0, 60)}"`);
  }
  return { bytes: picture(await readLimited(c.req.raw.body, PICTURE_LIMIT_BYTES, "the picture")), words: null };
}

function picture(bytes: Buffer): Uint8Array {
  const head = bytes.subarray(0, 4).toString("latin1");
  if (!head.startsWith("\xff\xd8\xff") && head !== "\x89PNG") {
    throw new Refusal(415, "picture-expected", `a JPEG or PNG was expected, ${bytes.length} bytes of something else came`);
  }
  return bytes;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, "json-malformed", "the request is not valid JSON");
  }
}
