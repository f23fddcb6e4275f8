/**
 * Reads the one YAML file an agent starts from, and refuses it with one line that names the fault.
 * Relative paths are taken from the file's own folder, so that an agent can be started from anywhere.
 */
import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { AgentConfig, errorLine, KenpinError, parseAtDoor } from "@kenpin/schema";
import { parse } from "yaml";

/** Sixteen cameras fill a few kilobytes. */
const CONFIG_LIMIT_BYTES = 256 * 1024;

export async function loadConfig(file: string): Promise<AgentConfig> {
  const { size } = await stat(file).catch((cause: unknown) => {
    throw new KenpinError("config-missing", `${file} cannot be read; pass the agent's YAML file with --config`, { cause });
  });
  if (size > CONFIG_LIMIT_BYTES) {
    throw new KenpinError("config-too-large", `${file} has ${size} bytes, at most ${CONFIG_LIMIT_BYTES} are read; is it the right file?`);
  }
  const config = parseAtDoor(AgentConfig, parseYaml(await readFile(file, "utf8"), file), file);
  const from = (path: string) => resolve(dirname(file), path);
  const cameras = config.cameras.map((camera) => ({ ...camera, source: located(camera.source, from) }));
  refuseTwins(
    cameras.map(({ name }) => name),
    file,
    "name",
  );
  refuseTwins(
    cameras.flatMap(({ source }) => (source.kind === "folder" ? [source.path] : [])),
    file,
    "folder",
  );
  const { engineCache } = config.inspector;
  const inspector = { ...config.inspector, ...(engineCache !== undefined && { engineCache: from(engineCache) }) };
  const { page } = config;
  const shown = page === false || page.pictures === undefined ? page : { ...page, pictures: from(page.pictures) };
  refuseLostCameras(config, file);
  const pushed = cameras.find(({ source }) => source.kind === "push");
  if (pushed && !config.lineDoor) {
    throw new KenpinError("invalid-input", `${file} at cameras: frames are pushed to "${pushed.name}" through lineDoor, which is missing`);
  }
  const { lineDoor: open } = config;
  if (open !== false && open.inspect) refuseTwins([open.inspect.camera, ...cameras.map(({ name }) => name)], file, "name");
  const lineDoor = open && open.tokenFile !== undefined ? { ...open, tokenFile: from(open.tokenFile) } : open;
  const broker = { ...config.broker };
  for (const name of ["ca", "cert", "key"] as const) if (broker[name] !== undefined) broker[name] = from(broker[name]);
  return { ...config, broker, dataDir: from(config.dataDir), bundle: from(config.bundle), cameras, inspector, page: shown, lineDoor };
}

/** A camera's part is answered at one station. */
function refuseLostCameras({ stations, cameras }: AgentConfig, file: string): void {
  const named = stations.flatMap((station) => station.cameras);
  const lost = named.find((name) => !cameras.some((camera) => camera.name === name));
  if (lost !== undefined) throw new KenpinError("invalid-input", `${file} at stations: there is no camera "${lost}"`);
  const names = stations.map(({ name }) => name);
  const twin = [names, named].flatMap((list) => list.filter((name, i) => list.indexOf(name) !== i))[0];
  if (twin !== undefined)
    throw new KenpinError("invalid-input", `${file} at stations: "${twin}" stands there twice; a station has its own name and cameras`);
}

function located<S extends AgentConfig["cameras"][number]["source"]>(source: S, from: (path: string) => string): S {
  if (source.kind === "folder") return { ...source, path: from(source.path) };
  if (!("login" in source) || source.login?.passwordFile === undefined) return source;
  return { ...source, login: { ...source.login, passwordFile: from(source.login.passwordFile) } };
}

function parseYaml(text: string, file: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    throw new KenpinError("config-unreadable", `${file} is no YAML: ${errorLine(error).split("\n")[0]}`, { cause: error });
  }
}

function refuseTwins(values: string[], file: string, what: string): void {
  const twin = values.find((value, i) => values.indexOf(value) !== i);
  if (twin !== undefined) {
    throw new KenpinError("invalid-input", `${file} at cameras: two cameras have the ${what} "${twin}"; give each its own`);
  }
}
