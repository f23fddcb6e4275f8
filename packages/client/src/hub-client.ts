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
  Reply,
  type RolloutRequest,
  type RunRequest,
  RunRow,
  SampleRow,
  VerdictRow,
} from "@kenpin/schema";
import { z } from "zod";

export type HubClient = ReturnType<typeof createHubClient>;

const TRIES = 5;
const TIMEOUT_MS = 120_000;

export function createHubClient({ url, token }: { url: string; token: string }) {
  const call = async (method: string, path: string, body?: unknown): Promise<Response> => {
    const response = await fetch(new URL(path, url), {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": "application/json" }) },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw await hubError(response);
    return response;
  };
  const get = async <S extends z.ZodType>(schema: S, path: string): Promise<z.infer<S>> =>
    schema.parse(await (await whileAway(() => call("GET", path), url)).json());
  const post = async <S extends z.ZodType>(schema: S, path: string, body: unknown): Promise<z.infer<S>> =>
    schema.parse(await (await call("POST", path, body)).json());

  return {
    agents: () => get(z.array(AgentRow), "/v1/agents"),
    verdicts: ({ after = 0, limit = 100 }: { after?: number; limit?: number } = {}) =>
      get(z.array(VerdictRow), `/v1/verdicts?after=${after}&limit=${limit}`),
    samples: () => get(z.array(SampleRow), "/v1/samples"),
    bundles: () => get(z.array(BundleRow), "/v1/bundles"),
    run: (id: string) => get(RunRow, `/v1/runs/${encodeURIComponent(id)}`),
    enrol: (request: EnrolRequest) => post(Enrolment, "/v1/agents", request),
    loginLink: (request: LoginLinkRequest = {}) => post(LoginLink, "/v1/login-links", request),
    makeBundle: (request: BundleRequest) => post(BundleRow, "/v1/bundles", request),
    label: (labels: Label[]) => post(z.strictObject({ stored: z.int() }), "/v1/labels", labels),
    command: (site: string, agent: string, request: CommandRequest) => post(Reply, `/v1/agents/${site}/${agent}/commands`, request),
    startRun: (request: RunRequest) => post(RunRow, "/v1/runs", request),
    rollOut: (request: RolloutRequest) => post(z.unknown(), "/v1/rollouts", request),
    downloadBundle: async (digest: string) =>
      new Uint8Array(await (await whileAway(() => call("GET", `/v1/bundles/${digest}`), url)).arrayBuffer()),
  };
}

async function hubError(response: Response): Promise<KenpinError> {
  const body = ErrorBody.safeParse(await response.json().catch(() => null));
  if (body.success) return new KenpinError(body.data.code, body.data.message);
  return new KenpinError("hub-error", `the hub answered ${response.status}; its log says more`);
}

async function whileAway(ask: () => Promise<Response>, url: string): Promise<Response> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof KenpinError) throw error;
      if (tries === TRIES)
        throw new KenpinError("hub-away", `the hub at ${url} does not answer; is "kenpin serve" running there?`, { cause: error });
      await sleep(200 * 2 ** tries * (0.5 + Math.random()));
    }
  }
}
