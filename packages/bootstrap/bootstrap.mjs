/**
 * The first script of every command: brings what is missing, then runs the command from source.
 *
 * Built-ins only, and syntax of Node 18, because nothing is installed yet when it starts. In order: Node 22 into the
 * user's cache where the running one is older, the packages of the lock file, the TensorFlow library behind tfjs-node,
 * the operator's page and the agent's. Each step leaves a stamp that names what it was made from, so a second call does none of them.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const CACHE = process.env.KENPIN_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "kenpin");
const FLOOR = [22, 18]; // the first 22 that runs TypeScript files without a flag
const NODE_VERSION = "22.23.3";

const COMMANDS = {
  start: () => node("packages/playground/src/main.ts"),
  kenpin: () => node("cloud-trainer/src/cli.ts"),
  agent: () => node("edge-agent/src/main.ts"),
  test: () => node("test/run.ts"),
  check: () => node("test/check.ts"),
  "bench:int8": () => node("test/bench/int8.ts"),
  study: () => node("test/study/main.ts"),
  setup: () => 0,
};

const [command, ...args] = process.argv.slice(2);
if (!command || !Object.hasOwn(COMMANDS, command)) {
  fail(`unknown command "${command ?? ""}"; expected one of: ${Object.keys(COMMANDS).join(", ")}`);
}
if (isOlderThan(FLOOR)) process.exit(runOnNewerNode());
installPackages();
installEngine();
buildPage("cloud-trainer", "the operator's page");
buildPage("edge-agent", "the agent's page");
process.exit(COMMANDS[command]());

function isOlderThan([major, minor]) {
  const [ourMajor, ourMinor] = process.versions.node.split(".").map(Number);
  return ourMajor < major || (ourMajor === major && ourMinor < minor);
}

/** Puts npm's own Node binary into the cache and runs this same script with it, first on the PATH. */
function runOnNewerNode() {
  const platform = process.platform === "win32" ? "win" : process.platform;
  const home = join(CACHE, `node-${NODE_VERSION}`);
  const binary = join(home, "node_modules", `node-${platform}-${process.arch}`, "bin", platform === "win" ? "node.exe" : "node");
  if (!existsSync(binary)) {
    say(`Node ${process.versions.node} is older than ${FLOOR.join(".")}: fetching Node ${NODE_VERSION} into ${home} (about 10 s)`);
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, "package.json"), '{"private":true}\n');
    npm(["install", "--no-save", "--loglevel=error", "--prefix", home, `node-${platform}-${process.arch}@${NODE_VERSION}`], home);
  }
  const env = { ...process.env, PATH: dirname(binary) + delimiter + process.env.PATH };
  return exitCode(spawnSync(binary, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit", env }));
}

function installPackages() {
  const stamp = join(ROOT, "node_modules", ".kenpin-installed");
  const want = digest([join(ROOT, "package-lock.json")]);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === want) return;
  say("installing packages (about 30 s, once)");
  npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], ROOT);
  writeFileSync(stamp, want);
}

/** tfjs-node needs TensorFlow's library; where it cannot be built the trainer falls back to wasm and says so itself. */
function installEngine() {
  const stamp = join(ROOT, "node_modules", ".kenpin-engine");
  const installer = "cloud-trainer/src/train/engines/tfjs/install.ts";
  const want = digest([join(ROOT, "package-lock.json"), join(ROOT, installer)]);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === want) return;
  if (node(installer, []) === 0) writeFileSync(stamp, want);
}

function buildPage(app, what) {
  const sources = [join(ROOT, "packages/page/web"), join(ROOT, app, "web")].flatMap((folder) =>
    readdirSync(folder, { recursive: true }).map((name) => join(folder, String(name))),
  );
  const stamp = join(ROOT, app, "dist-web", ".stamp");
  const want = digest(sources.filter((file) => /\.[a-z]+$/.test(file)).sort());
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === want) return;
  if (node(`${app}/web/build.ts`, []) !== 0) fail(`${what} did not build; the lines above say why`);
  writeFileSync(stamp, want);
}

function node(file, given = args) {
  const flags = ["--conditions=kenpin-source", "--disable-warning=ExperimentalWarning"];
  return exitCode(
    spawnSync(process.execPath, [...flags, join(ROOT, file), ...given], { stdio: "inherit", cwd: process.env.INIT_CWD ?? process.cwd() }),
  );
}

function npm(given, cwd) {
  // onnxruntime-node's own installer would fetch GPU parts from a host that many factories do not reach.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" };
  const cli = process.env.npm_execpath;
  const result = cli
    ? spawnSync(process.execPath, [cli, ...given], { stdio: "inherit", cwd, env })
    : spawnSync("npm", given, { stdio: "inherit", cwd, env, shell: process.platform === "win32" });
  if (exitCode(result) !== 0)
    fail(`npm ${given[0]} failed; check that this machine reaches its npm registry (npm ping), then run the command again`);
}

function exitCode(result) {
  if (result.error) fail(result.error.message);
  return result.status ?? 1;
}

function digest(files) {
  const hash = createHash("sha256");
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest("hex");
}

function say(text) {
  process.stderr.write(`kenpin: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}
