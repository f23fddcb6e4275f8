/** An RTSP camera on the real agent: a real RTSP server, ffmpeg, inspector and broker. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { LOGIN, startRtsp, withoutRtsp } from "../support/rtsp.ts";
import { openSite, until } from "./edge-site.ts";

test("an RTSP camera's pictures get verdicts, its loss and return show in the status, and ffmpeg ends with a killed agent", {
  skip: withoutRtsp,
}, async () => {
  const [server, site] = await Promise.all([startRtsp(), openSite()]);
  try {
    const config = JSON.parse(await readFile(site.configFile, "utf8"));
    await writeFile(join(site.folder, "camera.password"), LOGIN.password);
    const login = { username: LOGIN.username, passwordFile: "camera.password" };
    const source = { kind: "rtsp", url: server.url, login, framesPerSecond: 5, silenceMs: 3000 };
    await writeFile(site.configFile, JSON.stringify({ ...config, cameras: [{ name: "stream", source }] }));
    const agent = await site.startAgent();
    await until("three verdicts", () => site.inbox.verdicts.length >= 3);
    assert.ok(site.inbox.verdicts.every(({ camera, frame, score }) => camera === "stream" && frame.width === 96 && score !== null));
    const state = () => site.inbox.statuses.at(-1)?.cameras?.[0]?.state;
    await until("the camera to run", () => state() === "running");
    server.order("stop");
    await until("the camera to be stale", () => state() === "stale");
    server.order("start");
    await until("the camera to run again", () => state() === "running");
    assert.equal(programs(server.url).length, 1);
    await agent.kill();
    await until("ffmpeg to end", () => programs(server.url).length === 0);
    assert.ok(agent.lines.every((line) => !JSON.stringify(line).includes(encodeURIComponent(LOGIN.password))));
    assert.ok(agent.lines.every((line) => !JSON.stringify(line).includes(LOGIN.password)));
  } finally {
    await site.close();
    await server.close();
  }
});

/** Processes of ffmpeg's that read this address. */
function programs(url: string): number[] {
  const { host } = new URL(url);
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const args = readFileSync(`/proc/${name}/cmdline`, "utf8");
      return args.startsWith("ffmpeg") && args.includes(host) ? [Number(name)] : [];
    } catch {
      return []; // it ended meanwhile
    }
  });
}
