/**
 * A real Mosquitto (MQTT 5) on a free loopback port, for tests. Without one on the machine the test is skipped and says so.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const BINARY = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"].find((path) => existsSync(path));

/** The reason to skip a test that needs Mosquitto, or false. */
export const withoutMosquitto: string | false = BINARY ? false : "mosquitto is not installed (Debian: apt install mosquitto)";

export type Mosquitto = { url: string; pid: number; kill: () => Promise<void>; start: () => Promise<void>; stop: () => Promise<void> };

/** `tls` holds the lines of a listener that speaks TLS; see mosquitto.conf(5). A free port where none is given. */
export async function startMosquitto({ tls = "", port: asked }: { tls?: string; port?: number } = {}): Promise<Mosquitto> {
  const folder = await mkdtemp(join(tmpdir(), "kenpin-mosquitto-"));
  const port = asked ?? (await freePort());
  const config = join(folder, "mosquitto.conf");
  await writeFile(
    config,
    `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\n${tls && `user ${userInfo().username}\n${tls}`}\n`,
  );
  let child: ChildProcess | null = null;
  const start = async () => {
    child = spawn(BINARY as string, ["-c", config], { stdio: "ignore" });
    await untilOpen(port);
  };
  const end = async (signal: NodeJS.Signals) => {
    const running = child;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const gone = new Promise((resolve) => running.once("exit", resolve));
    running.kill(signal);
    await gone;
  };
  await start();
  return {
    url: `${tls ? "mqtts" : "mqtt"}://127.0.0.1:${port}`,
    get pid() {
      return child?.pid ?? 0;
    },
    start,
    kill: () => end("SIGKILL"),
    stop: async () => {
      await end("SIGTERM");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

async function untilOpen(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (open) return;
    await sleep(50);
  }
  throw new Error(`mosquitto did not open port ${port} within five seconds`);
}
