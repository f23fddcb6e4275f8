/**
 * The door for machines of the line: an HTTP server of its own, with a token of its own, apart from the page for people. Shut unless it
 * is configured; loopback unless told otherwise. In: the routes. A port that is taken is logged, and the agent goes on without the
 * door; a token that is missing or short is a fault of the configuration and ends the start.
 */
import { readFileSync } from "node:fs";
import { answerFaults, bearerToken, digestOf, hostGuard, isLoopback, listen, Refusal, sameDigest, securityHeaders } from "@kenpin/page";
import { errorLine, KenpinError, type LineDoorConfig } from "@kenpin/schema";
import { Hono } from "hono";
import type { Logger } from "pino";

const TOKEN_LIMIT = { least: 24, most: 512 };
const STATUS: Record<string, number> = { "invalid-input": 400, "unknown-camera": 404, "unknown-station": 404 };

/** null where the address cannot be listened on. */
export async function openLineDoor(
  door: LineDoorConfig,
  routes: readonly Hono[],
  log: Logger,
): Promise<{ url: string; close: () => Promise<void> } | null> {
  const app = buildApp(door, routes, log);
  try {
    const server = await listen(app, door);
    log.info({ url: server.url }, "line-door-open");
    if (!isLoopback(door.host)) log.warn({ url: server.url }, "line-door-without-tls-put-a-tls-proxy-in-front");
    return server;
  } catch (error) {
    log.error({ host: door.host, port: door.port, why: errorLine(error) }, "line-door-not-open");
    return null;
  }
}

function buildApp(door: LineDoorConfig, routes: readonly Hono[], log: Logger): Hono {
  const digest = digestOf(doorToken(door));
  const app = new Hono();
  app.use(securityHeaders(), hostGuard(door.host, door.allowHosts, "name it in the configuration's lineDoor.allowHosts"));
  app.use(async (c, next) => {
    const token = bearerToken(c);
    if (!token || !sameDigest(digestOf(token), digest)) {
      throw new Refusal(401, "token-unknown", "this takes the token that the agent's lineDoor names, as Authorization: Bearer");
    }
    await next();
  });
  for (const part of routes) app.route("/", part);
  answerFaults(app, {
    status: STATUS,
    otherwise: 409,
    unforeseen: "the agent failed at this; its log says more",
    onUnforeseen: (where, error) => log.error({ ...where, why: error.message }, "request-failed"),
  });
  return app;
}

function doorToken({ tokenFile, tokenEnv }: LineDoorConfig): string {
  const token = (tokenFile === undefined ? process.env[tokenEnv ?? ""] : readToken(tokenFile))?.trim() ?? "";
  if (token.length >= TOKEN_LIMIT.least && token.length <= TOKEN_LIMIT.most) return token;
  const where = tokenFile === undefined ? `the environment variable ${tokenEnv}` : tokenFile;
  const { least, most } = TOKEN_LIMIT;
  throw new KenpinError(
    "door-token-missing",
    `lineDoor needs a token of ${least} to ${most} letters in ${where}, which has ${token.length}`,
  );
}

function readToken(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new KenpinError(
      "door-token-missing",
      `lineDoor's token file ${file} cannot be read; write a token of 24 letters or more into it`,
      {
        cause,
      },
    );
  }
}
