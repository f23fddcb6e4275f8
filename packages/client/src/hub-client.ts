/**
 * The hub's HTTP interface, typed by its contracts. Reading calls are tried again while the hub is away; writing calls
 * are not, because only the caller knows whether doing them twice is right.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  AgentRow,
  type BundleRequest,
  BundleRow,
  type CommandRequest,
  Enrolment,
  type EnrolRequest,
  ErrorBody,
  KenpinError,
  type Label,
  LoginLink,
  type LoginLinkRequest,
  Me,
  Reply,
  type RolloutRequest,
  type RunRequest,
  RunRow,
  SampleRow,
  VerdictRow,
} from "@kenpin/schema";
import { z } from "zod";
import { within } from "./request-limits.ts";

export type HubClient = ReturnType<typeof createHubClient>;

type HubOptions = { url: string; token: string; timeoutMs?: number; signal?: AbortSignal };
type Asked = { body?: unknown; tries?: number };

const TRIES = 5;
const ONCE = 1;
const TIMEOUT_MS = 120_000;

/** `signal` ends whatever is under way. */
export function createHubClient({ url, token, timeoutMs = TIMEOUT_MS, signal }: HubOptions) {
  const ask = <T>(method: string, path: string, read: (response: Response) => Promise<T>, { body, tries = TRIES }: Asked = {}) => {
    const init = {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": "application/json" }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    };
    const once = () =>
      within({ timeoutMs, signal }, async (ending) => {
        const response = await fetch(new URL(path, url), { ...init, signal: ending });
        if (!response.ok) throw await hubError(response);
        return read(response);
      });
    return whileAway(once, { url, tries, signal });
  };
  const json = (response: Response): Promise<unknown> => response.json();
  const get = async <S extends z.ZodType>(schema: S, path: string, asked?: Asked): Promise<z.infer<S>> =>
    schema.parse(await ask("GET", path, json, asked));
  const post = async <S extends z.ZodType>(schema: S, path: string, body: unknown): Promise<z.infer<S>> =>
    schema.parse(await ask("POST", path, json, { body, tries: ONCE }));
  const bytes = async (path: string) => new Uint8Array(await ask("GET", path, (response) => response.arrayBuffer()));

  return {
    agents: () => get(z.array(AgentRow), "/v1/agents"),
    verdicts: ({ after = 0, limit = 100 }: { after?: number; limit?: number } = {}) =>
      get(z.array(VerdictRow), `/v1/verdicts?after=${after}&limit=${limit}`),
    samples: ({ unlabelled = false }: { unlabelled?: boolean } = {}) =>
      get(z.array(SampleRow), unlabelled ? "/v1/samples?unlabelled" : "/v1/samples"),
    /** A sample's frame or heat map; fails with `blob-unknown` until its agent has brought it. */
    picture: (sha256: string) => bytes(`/v1/blobs/${sha256}`),
    /** Who this token is, asked once. */
    me: () => get(Me, "/v1/me", { tries: ONCE }),
    bundles: () => get(z.array(BundleRow), "/v1/bundles"),
    run: (id: string) => get(RunRow, `/v1/runs/${encodeURIComponent(id)}`),
    enrol: (request: EnrolRequest) => post(Enrolment, "/v1/agents", request),
    loginLink: (request: LoginLinkRequest = {}) => post(LoginLink, "/v1/login-links", request),
    makeBundle: (request: BundleRequest) => post(BundleRow, "/v1/bundles", request),
    label: (labels: Label[]) => post(z.strictObject({ stored: z.int() }), "/v1/labels", labels),
    command: (site: string, agent: string, request: CommandRequest) => post(Reply, `/v1/agents/${site}/${agent}/commands`, request),
    startRun: (request: RunRequest) => post(RunRow, "/v1/runs", request),
    rollOut: (request: RolloutRequest) => post(z.unknown(), "/v1/rollouts", request),
    downloadBundle: (digest: string) => bytes(`/v1/bundles/${digest}`),
  };
}

async function hubError(response: Response): Promise<KenpinError> {
  const body = ErrorBody.safeParse(await response.json().catch(() => null));
  if (body.success) return new KenpinError(body.data.code, body.data.message);
  return new KenpinError("hub-error", `the hub answered ${response.status}; its log says more`);
}

type Patience = { url: string; tries: number; signal?: AbortSignal | undefined };

async function whileAway<T>(ask: () => Promise<T>, { url, tries: most, signal }: Patience): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof KenpinError) throw error;
      if (tries === most || signal?.aborted)
        throw new KenpinError("hub-away", `the hub at ${url} does not answer; is "kenpin serve" running there?`, { cause: error });
      await sleep(200 * 2 ** tries * (0.5 + Math.random()), undefined, signal && { signal });
    }
  }
}
