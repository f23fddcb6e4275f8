/**
 * An agent's line door, as far as it inspects pictures, typed by its contract. Nothing is asked twice: only the caller knows whether
 * a picture that got no answer should be looked at again.
 */
import { ErrorBody, InspectAnswer, InspectState, KenpinError, type Verdict, type WordsRequest } from "@kenpin/schema";
import { within } from "./request-limits.ts";

export type AgentClient = ReturnType<typeof createAgentClient>;
export type InspectOptions = {
  map?: boolean;
  trigger?: string | undefined;
  part?: string | undefined;
  /** Words of the picture's own; then the answer decides nothing and is recorded nowhere. */
  words?: WordsRequest | undefined;
  signal?: AbortSignal;
};

type CallOptions = { headers?: Record<string, string>; body?: Uint8Array<ArrayBuffer> | string; signal?: AbortSignal | undefined };

/** The first picture with words of its own waits until they are read and an inspector for them is proven. */
const TIMEOUT_MS = 120_000;

export function createAgentClient({ url, token, timeoutMs = TIMEOUT_MS }: { url: string; token: string; timeoutMs?: number }) {
  const call = (path: string, { signal, ...init }: CallOptions = {}): Promise<unknown> =>
    within({ timeoutMs, signal }, async (ending) => {
      const headers = { authorization: `Bearer ${token}`, ...init.headers };
      const asked = fetch(new URL(path, url), { ...init, method: init.body ? "POST" : "GET", headers, signal: ending });
      const response = await asked.catch((cause: unknown) => {
        throw new KenpinError("agent-away", `the agent's line door at ${url} does not answer; does agent.yaml have lineDoor.inspect?`, {
          cause,
        });
      });
      const body: unknown = await response.json().catch(() => null);
      if (response.ok) return body;
      const fault = ErrorBody.safeParse(body);
      if (fault.success) throw new KenpinError(fault.data.code, fault.data.message);
      throw new KenpinError("agent-error", `the agent answered ${response.status}; its log says more`);
    });

  return {
    state: async (signal?: AbortSignal): Promise<InspectState> => InspectState.parse(await call("/v1/inspect", { signal })),

    /** A JPEG or PNG; the map is a PNG as large as the picture, null where none was asked for or none was drawn. */
    inspect: async (picture: Uint8Array, options: InspectOptions = {}): Promise<{ verdict: Verdict; map: Buffer | null }> => {
      const { map = false, trigger, part, words, signal } = options;
      const query = new URLSearchParams({ ...(map && { map: "1" }), ...(trigger && { trigger }), ...(part && { part }) });
      const answer = await call(`/v1/inspect?${query}`, { ...bodyOf(picture, words), signal });
      const { verdict, map: drawn } = InspectAnswer.parse(answer);
      return { verdict, map: drawn === undefined ? null : Buffer.from(drawn, "base64") };
    },
  };
}

function bodyOf(picture: Uint8Array, words: WordsRequest | undefined): Pick<CallOptions, "headers" | "body"> {
  if (!words) return { headers: { "content-type": "application/octet-stream" }, body: picture as Uint8Array<ArrayBuffer> };
  const image = Buffer.from(picture.buffer, picture.byteOffset, picture.byteLength).toString("base64");
  return { headers: { "content-type": "application/json" }, body: JSON.stringify({ image, words }) };
}
