/** A model hub on loopback that speaks what @huggingface/hub asks: a model's facts, its tree, its files with ranges. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type HubRepo = { id: string; files: Record<string, Uint8Array>; licence?: string; token?: string };
export type HubServer = {
  url: string;
  /** "path range" of each file request that was answered with bytes. */
  fetched: string[];
  /** The next answer of this file ends its connection after so many bytes. */
  cutAfter: (file: string, bytes: number) => void;
  /** Answers of files come in pieces of 64 kB with a pause between. */
  slow: (pauseMs: number) => void;
  close: () => Promise<void>;
};

const REVISION = "0123456789abcdef0123456789abcdef01234567";

export async function startHubServer(repo: HubRepo): Promise<HubServer> {
  const fetched: string[] = [];
  const cuts = new Map<string, number>();
  let pauseMs = 0;
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? "").split("?")[0] as string);
    if (repo.token && request.headers.authorization !== `Bearer ${repo.token}`)
      return refuse(response, 401, "Access to this model is restricted");
    if (path === `/api/models/${repo.id}/revision/main`) return facts(response, repo);
    if (path === `/api/models/${repo.id}/tree/${REVISION}`) return tree(response, repo);
    const prefix = `/${repo.id}/resolve/${REVISION}/`;
    const file = path.startsWith(prefix) ? path.slice(prefix.length) : "";
    const bytes = repo.files[file];
    if (!bytes) return refuse(response, 404, "Repository not found");
    const cut = cuts.get(file);
    if (request.headers.range !== "bytes=0-0") {
      fetched.push(`${file} ${request.headers.range ?? "all"}`);
      cuts.delete(file);
    }
    void sendFile(request, response, bytes, { cut: request.headers.range === "bytes=0-0" ? undefined : cut, pauseMs });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    fetched,
    cutAfter: (file, bytes) => cuts.set(file, bytes),
    slow: (pause) => {
      pauseMs = pause;
    },
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

function facts(response: ServerResponse, { id, licence }: HubRepo): void {
  const cardData = licence ? { license: licence } : {};
  json(response, {
    _id: "1",
    id,
    private: false,
    gated: false,
    downloads: 1,
    likes: 1,
    lastModified: "2024-01-01T00:00:00.000Z",
    sha: REVISION,
    cardData,
    tags: [],
  });
}

function tree(response: ServerResponse, { files }: HubRepo): void {
  json(
    response,
    Object.entries(files).map(([path, bytes]) => ({
      type: "file",
      path,
      size: bytes.length,
      oid: "git",
      ...(/\.(safetensors|pt|bin)$/.test(path) && {
        lfs: { oid: createHash("sha256").update(bytes).digest("hex"), size: bytes.length, pointerSize: 130 },
      }),
    })),
  );
}

async function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Uint8Array,
  { cut, pauseMs }: { cut: number | undefined; pauseMs: number },
): Promise<void> {
  const [, from = "0", to = ""] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  const [start, end] = [Number(from), to === "" ? bytes.length - 1 : Math.min(Number(to), bytes.length - 1)];
  const headers = { etag: '"x"', "content-length": end - start + 1, "content-range": `bytes ${start}-${end}/${bytes.length}` };
  response.writeHead(request.headers.range ? 206 : 200, headers);
  const body = bytes.subarray(start, end + 1);
  if (cut !== undefined) {
    response.write(body.subarray(0, cut), () => setTimeout(() => request.socket.destroy(), 50));
    return;
  }
  for (let at = 0; pauseMs > 0 && at < body.length && !response.destroyed; at += 65_536) {
    response.write(body.subarray(at, at + 65_536));
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  response.end(pauseMs > 0 ? undefined : body);
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

function refuse(response: ServerResponse, status: number, error: string): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ error }));
}
