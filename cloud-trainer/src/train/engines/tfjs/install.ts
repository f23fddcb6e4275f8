/**
 * Makes @tensorflow/tfjs-node work where its own download host is out of reach, on Linux x86-64.
 *
 * TensorFlow's library and headers come from the wheel tensorflow-cpu on the Python index this machine is configured
 * for, without Python; where none is configured, through pip. The binding is compiled against Node-API headers from npm.
 * Both stay in the user's cache, so a second checkout compiles and downloads nothing. Without a compiler, or with the index
 * out of reach, one line says that the wasm back end will serve, and exit code 1 has the next start try again; where the
 * binding cannot be built at all the exit is 0. Training works all the same, slower.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createWriteStream, existsSync, renameSync } from "node:fs";
import { copyFile, mkdir, readFile, rename, rm, stat, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { dirname, join, sep } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Entry, open as openZip, type ZipFile } from "yauzl";

const WHEEL = {
  project: "tensorflow-cpu",
  version: "2.15.1",
  file: "tensorflow_cpu-2.15.1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
  sha256: "54660c074d7241a503e81edfd9f5ef5af88f64051b72e2945f26318c790f2d26",
};
const LIBRARIES = ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"];
const HEADERS = ["tensorflow/include/tensorflow/", "tensorflow/include/tsl/", "tensorflow/include/external/local_tsl/"];
const INDEX_LIMIT_BYTES = 32 * 1024 * 1024;

const require = createRequire(import.meta.url);
const tfjsNode = dirname(require.resolve("@tensorflow/tfjs-node/package.json"));
const target = join(tfjsNode, "lib", "napi-v8", "tfjs_binding.node");
const cache = process.env["KENPIN_CACHE"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "kenpin");
const home = join(cache, "tfjs-node-4.22.0-tensorflow-2.15.1");

try {
  if (process.platform === "linux" && process.arch === "x64") await install();
  else sayFallback(`it is built on Linux x86-64 only, this is ${process.platform} ${process.arch}`);
} catch (error) {
  sayFallback((error as Error).message);
  process.exitCode = 1; // what was missing may be there next time
}

function sayFallback(why: string): void {
  say(`no tfjs-node (${why}); training falls back to the wasm back end: about 15 times fewer steps in the same time, and a weaker model`);
}

async function install(): Promise<void> {
  if (existsSync(target)) return;
  const binding = join(home, "tfjs_binding.node");
  if (!existsSync(binding)) {
    if (spawnSync("g++", ["--version"]).status !== 0) throw new Error("no C++ compiler here; Debian: apt install g++");
    await unpackTensorFlow();
    compile(binding);
  }
  await mkdir(dirname(target), { recursive: true });
  await copyFile(binding, target);
}

async function unpackTensorFlow(): Promise<void> {
  const done = join(home, "unpacked");
  if (existsSync(done)) return;
  const wheel = await fetchWheel();
  say("unpacking TensorFlow's library");
  await rm(join(home, "unpacking"), { recursive: true, force: true });
  await unpack(wheel, join(home, "unpacking"));
  await rename(join(home, "unpacking"), done);
  await rm(wheel);
}

/** Downloads the wheel, going on from where an earlier try stopped; refuses it unless its digest is the pinned one. */
async function fetchWheel(): Promise<string> {
  await mkdir(home, { recursive: true });
  const file = join(home, WHEEL.file);
  const index = await configuredIndex();
  if (index) await download(await wheelUrl(index), file);
  else downloadWithPip();
  const digest = createHash("sha256")
    .update(await readFile(file))
    .digest("hex");
  if (digest === WHEEL.sha256) return file;
  await rm(file);
  throw new Error(`${WHEEL.file} has sha256 ${digest}, expected ${WHEEL.sha256}; it was removed, run again`);
}

/** Where no index is configured, pip knows where to look. */
function downloadWithPip(): void {
  say("TensorFlow's library: 207 MB through pip");
  const platforms = ["manylinux_2_17_x86_64", "manylinux2014_x86_64"].flatMap((platform) => ["--platform", platform]);
  const kind = ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", "311", ...platforms];
  const args = ["-m", "pip", "download", "--quiet", ...kind, "--dest", home, `${WHEEL.project}==${WHEEL.version}`];
  if (spawnSync("python3", args, { stdio: ["ignore", "ignore", "inherit"] }).status !== 0) {
    throw new Error("no Python index is configured and pip could not fetch it; set PIP_INDEX_URL to your index");
  }
}

async function download(url: string, file: string): Promise<void> {
  const have = await stat(file).then(
    (stats) => stats.size,
    () => 0,
  );
  const response = await fetch(url, have > 0 ? { headers: { range: `bytes=${have}-` } } : {});
  if (response.status !== 416) {
    if (!response.ok || !response.body) throw new Error(`the Python index answered ${response.status} for ${WHEEL.file}`);
    const resumed = response.status === 206;
    const whole = Number(response.headers.get("content-length") ?? 0) + (resumed ? have : 0);
    const meter = progressMeter("TensorFlow's library", whole, resumed ? have : 0);
    await pipeline(Readable.fromWeb(response.body as never), meter, createWriteStream(file, { flags: resumed ? "a" : "w" }));
  }
}

/** The wheel's address on the configured index, by the simple repository interface (PEP 503 and 691). */
async function wheelUrl(index: string): Promise<string> {
  const page = new URL(`${WHEEL.project}/`, index.endsWith("/") ? index : `${index}/`);
  const response = await fetch(page, { headers: { accept: "application/vnd.pypi.simple.v1+json, text/html;q=0.1" } });
  if (!response.ok) throw new Error(`the Python index answered ${response.status} for ${WHEEL.project}`);
  const text = await response.text();
  if (text.length > INDEX_LIMIT_BYTES) throw new Error("the Python index's page is implausibly long");
  const href = text.startsWith("{")
    ? (JSON.parse(text) as { files: { filename: string; url: string }[] }).files.find((file) => file.filename === WHEEL.file)?.url
    : text.match(new RegExp(`href="([^"]*/${WHEEL.file.replaceAll(".", "\\.")})[#"]`))?.[1];
  if (!href) throw new Error(`the Python index does not have ${WHEEL.file}`);
  return new URL(href, page).href;
}

/** As pip looks it up: the environment, then the user's file, then the machine's. */
async function configuredIndex(): Promise<string | null> {
  const fromEnvironment = process.env["PIP_INDEX_URL"];
  if (fromEnvironment) return fromEnvironment;
  const files = [
    process.env["PIP_CONFIG_FILE"],
    join(homedir(), ".config/pip/pip.conf"),
    join(homedir(), ".pip/pip.conf"),
    "/etc/pip.conf",
  ];
  for (const file of files.filter((path) => path !== undefined)) {
    const found = (await readFile(file, "utf8").catch(() => "")).match(/^\s*index-url\s*=\s*(\S+)/m);
    if (found?.[1]) return found[1];
  }
  return null;
}

/** Takes only the two libraries and the headers out of the wheel; every path is our own, so none can escape. */
async function unpack(wheel: string, folder: string): Promise<void> {
  const zip = await new Promise<ZipFile>((resolve, reject) =>
    openZip(wheel, { lazyEntries: true, autoClose: true }, (error, file) => (error ? reject(error) : resolve(file))),
  );
  await new Promise<void>((resolve, reject) => {
    zip
      .on("error", reject)
      .on("end", resolve)
      .on("entry", (entry: Entry) => {
        const to = placeOf(entry.fileName);
        if (!to) return zip.readEntry();
        extract(zip, entry, join(folder, to)).then(() => zip.readEntry(), reject);
      });
    zip.readEntry();
  });
  for (const [name, library] of [
    ["libtensorflow.so", LIBRARIES[0]],
    ["libtensorflow_framework.so", LIBRARIES[1]],
  ] as const) {
    await symlink(library as string, join(folder, "lib", name));
  }
}

function placeOf(name: string): string | null {
  const base = name.split("/").at(-1) ?? "";
  if (name.startsWith("tensorflow/") && LIBRARIES.includes(base)) return join("lib", base);
  const headers = HEADERS.find((prefix) => name.startsWith(prefix));
  if (!headers || !/\.(h|inc)$/.test(base) || name.split("/").includes("..")) return null;
  return name.slice("tensorflow/".length).replace("include/external/local_tsl/", "include/").replaceAll("/", sep);
}

async function extract(zip: ZipFile, entry: Entry, file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const stream = await new Promise<Readable>((resolve, reject) =>
    zip.openReadStream(entry, (error, read) => (error ? reject(error) : resolve(read))),
  );
  await pipeline(stream, createWriteStream(file));
}

function compile(binding: string): void {
  say("compiling the binding to TensorFlow (about 15 s)");
  const sources = ["tfjs_backend.cc", "tfjs_binding.cc"].map((name) => join(tfjsNode, "binding", name));
  const library = join(home, "unpacked", "lib");
  const headers = [require("node-api-headers").include_dir as string, join(home, "unpacked", "include"), tfjsNode];
  const result = spawnSync(
    "g++",
    [
      "-O2",
      "-std=c++17",
      "-fPIC",
      "-shared",
      "-DNAPI_VERSION=8",
      "-DNODE_GYP_MODULE_NAME=tfjs_binding",
      ...headers.map((path) => `-I${path}`),
      ...sources,
      `-L${library}`,
      `-Wl,-rpath,${library}`,
      "-l:libtensorflow_cc.so.2",
      "-l:libtensorflow_framework.so.2",
      "-o",
      `${binding}.new`,
    ],
    { encoding: "utf8" },
  );
  if (result.status !== 0)
    throw new Error(`g++ failed: ${result.stderr.split("\n").find((line) => line.includes("error")) ?? result.stderr.slice(0, 200)}`);
  renameSync(`${binding}.new`, binding);
}

/** Passes bytes through and shows how many came, with the time left. */
function progressMeter(what: string, whole: number, before: number) {
  const startedAt = Date.now();
  let have = before;
  let saidAt = 0;
  return async function* (source: AsyncIterable<Uint8Array>) {
    for await (const chunk of source) {
      have += chunk.length;
      if (Date.now() - saidAt > 1000) {
        saidAt = Date.now();
        const left = ((whole - have) * (Date.now() - startedAt)) / Math.max(1, have - before) / 1000;
        say(`${what}: ${(have / 1e6).toFixed(0)} of ${(whole / 1e6).toFixed(0)} MB, ${left.toFixed(0)} s left`);
      }
      yield chunk;
    }
  };
}

function say(text: string): void {
  process.stderr.write(`kenpin: ${text}\n`);
}
