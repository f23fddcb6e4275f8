/** What an agent's configuration may not say of cameras and stations, and that a refusal is one line without a secret. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { KenpinError } from "@kenpin/schema";
import { loadConfig } from "../../../edge-agent/src/operate/config.ts";

const REST = {
  site: "test",
  line: "line-1",
  agent: "edge-1",
  dataDir: "data",
  broker: { url: "mqtt://127.0.0.1" },
  hub: { url: "http://127.0.0.1:1", token: "a-token-of-the-test" },
  rootKey: "A".repeat(43),
  bundle: "first.kenpin",
};
const FOLDER = { name: "top", source: { kind: "folder", path: "frames" } };

test("paths are taken from the configuration's own folder, a camera's password file too", async () => {
  const login = { username: "u", passwordFile: "secrets/camera" };
  const camera = { name: "side", source: { kind: "rtsp", url: "rtsp://10.0.0.7/live", login } };
  await withConfig({ cameras: [FOLDER, camera], lineDoor: { tokenFile: "door" } }, async (file, folder) => {
    const { cameras, lineDoor } = await loadConfig(file);
    const [top, side] = cameras.map(({ source }) => source);
    assert.ok(top?.kind === "folder" && side?.kind === "rtsp");
    assert.equal(top.path, join(folder, "frames"));
    assert.equal(side.login?.passwordFile, join(folder, "secrets/camera"));
    assert.ok(lineDoor);
    assert.equal(lineDoor.tokenFile, join(folder, "door"));
  });
});

test("a station without its camera, a camera at two stations and a push without a door are refused with what is wrong", async () => {
  const station = (name: string, ...cameras: string[]) => ({ name, cameras });
  const refused: [object, RegExp][] = [
    [{ cameras: [FOLDER], stations: [station("press", "side")] }, /at stations: there is no camera "side"/],
    [{ cameras: [FOLDER], stations: [station("a", "top"), station("b", "top")] }, /"top" stands there twice/],
    [{ cameras: [FOLDER], stations: [station("a", "top", "top")] }, /"top" stands there twice/],
    [
      {
        cameras: [FOLDER, { ...FOLDER, name: "side", source: { kind: "folder", path: "b" } }],
        stations: [station("a", "top"), station("a", "side")],
      },
      /"a" stands/,
    ],
    [{ cameras: [{ name: "pushed", source: { kind: "push" } }] }, /pushed to "pushed" through lineDoor, which is missing/],
    [{ cameras: [FOLDER], lineDoor: {} }, /lineDoor: name tokenFile or tokenEnv/],
  ];
  for (const [config, why] of refused) {
    await withConfig(config, async (file) => {
      await assert.rejects(loadConfig(file), (error: KenpinError) => why.test(error.message) || assert.fail(error.message));
    });
  }
});

test("a password that stands in the configuration is refused and not repeated", async () => {
  const camera = { name: "side", source: { kind: "rtsp", url: "rtsp://10.0.0.7/live", login: { username: "u", password: "hush-hush" } } };
  await withConfig({ cameras: [camera] }, async (file) => {
    await assert.rejects(
      loadConfig(file),
      ({ message }: Error) => /unknown key "password"/.test(message) && !message.includes("hush-hush"),
    );
  });
});

async function withConfig(config: object, work: (file: string, folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-config-"));
  const file = join(folder, "agent.yaml");
  await writeFile(file, JSON.stringify({ ...REST, ...config }));
  try {
    await work(file, folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}
