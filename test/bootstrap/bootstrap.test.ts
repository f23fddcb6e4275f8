/**
 * The first script of every command, in a small project of its own: it brings what is missing once, and says what it cannot.
 * The project depends on nothing but its own workspace, so npm's own `ci` runs without a registry; its installer, page and tests write down that
 * they ran. On this machine's own tree nothing is installed anew by a test.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";

const BOOTSTRAP = resolve(import.meta.dirname, "../../packages/bootstrap/bootstrap.mjs");

type Ran = { status: number | null; stdout: string; stderr: string };
type Project = {
  dir: string;
  run: (args: string[], options?: { env?: Record<string, string>; before?: string[] }) => Ran;
  write: (name: string, text: string) => void;
  /** What ran since it was last asked, in order. */
  ran: () => string[];
};

function inProject(use: (project: Project) => void): void {
  const dir = mkdtempSync(join(tmpdir(), "kenpin-bootstrap-"));
  const write = (name: string, text: string) => {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text);
  };
  const journal = join(dir, "journal");
  const noting = (what: string) => `import { appendFileSync } from "node:fs";
    appendFileSync(${JSON.stringify(journal)}, ${JSON.stringify(`${what} `)} + JSON.stringify(process.argv.slice(2)) + "\\n");\n`;
  try {
    write("packages/bootstrap/package.json", JSON.stringify(WORKSPACE));
    writeVersion(write, "1.0.0");
    write("cloud-trainer/src/train/engines/tfjs/install.ts", noting("engine"));
    write("packages/page/web/index.html", "");
    write("cloud-trainer/web/build.ts", noting("page"));
    write("cloud-trainer/dist-web/.keep", "");
    write("edge-agent/web/build.ts", noting("agent-page"));
    write("edge-agent/dist-web/.keep", "");
    write("cloud-trainer/src/cli.ts", `${noting("cli")}process.exitCode = 7;`);
    write("test/run.ts", noting("test"));
    copyFileSync(BOOTSTRAP, join(dir, "packages/bootstrap/bootstrap.mjs"));
    use({
      dir,
      write,
      run: (args, { env = {}, before = [] } = {}) =>
        spawnSync(process.execPath, [...before, join(dir, "packages/bootstrap/bootstrap.mjs"), ...args], {
          cwd: dir,
          encoding: "utf8",
          env: { ...process.env, npm_config_cache: join(dir, "npm-cache"), KENPIN_CACHE: join(dir, "cache"), ...env },
        }),
      ran: () => {
        const lines = existsSync(journal) ? readFileSync(journal, "utf8").trim().split("\n") : [];
        rmSync(journal, { force: true });
        return lines.filter((line) => line !== "");
      },
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const WORKSPACE = { name: "@small/bootstrap", version: "0.1.0" };

function writeVersion(write: Project["write"], version: string): void {
  const root = { name: "small", version, type: "module", workspaces: ["packages/*"] };
  const packages = {
    "": root,
    [`node_modules/${WORKSPACE.name}`]: { resolved: "packages/bootstrap", link: true },
    "packages/bootstrap": WORKSPACE,
  };
  write("package.json", JSON.stringify({ ...root, private: true }));
  write("package-lock.json", JSON.stringify({ name: "small", version, lockfileVersion: 3, requires: true, packages }));
}

test("the first call brings what is missing, once; the second only runs the command, with its arguments and its exit code", () => {
  inProject(({ run, ran }) => {
    const first = run(["test", "word", "--flag"]);
    assert.equal(first.status, 0, first.stderr);
    assert.match(first.stderr, /installing packages \(about 30 s, once\)/);
    assert.deepEqual(ran(), ["engine []", "page []", "agent-page []", 'test ["word","--flag"]']);
    const second = run(["kenpin", "serve", "--port", "1"]);
    assert.deepEqual([second.status, second.stderr], [7, ""]);
    assert.deepEqual(ran(), ['cli ["serve","--port","1"]']);
  });
});

test("a changed lock file installs again, a changed page is built again, and only that", () => {
  inProject(({ dir, run, ran, write }) => {
    assert.equal(run(["setup"]).status, 0);
    ran();
    appendFileSync(join(dir, "cloud-trainer/web/build.ts"), "// changed\n");
    assert.equal(run(["setup"]).stderr, "");
    assert.deepEqual(ran(), ["page []"]);
    write("packages/page/web/index.html", "changed");
    assert.equal(run(["setup"]).stderr, "");
    assert.deepEqual(ran(), ["page []", "agent-page []"], "what both pages share");
    writeVersion(write, "1.0.1");
    assert.match(run(["setup"]).stderr, /installing packages/);
    assert.deepEqual(ran(), ["engine []"]);
  });
});

test("an engine that cannot be installed stops nothing and is tried again; a page that does not build is said in one line", () => {
  inProject(({ run, ran, write }) => {
    write("cloud-trainer/src/train/engines/tfjs/install.ts", "process.exitCode = 1;");
    assert.equal(run(["test"]).status, 0);
    assert.deepEqual(ran(), ["page []", "agent-page []", "test []"]);
    write("cloud-trainer/web/build.ts", "process.exitCode = 1;");
    const { status, stderr } = run(["test"]);
    assert.equal(status, 1);
    assert.match(stderr, /^kenpin: the operator's page did not build; the lines above say why\n$/);
    assert.deepEqual(ran(), []);
  });
});

test("packages that cannot be installed are said in one line that tells what to check", () => {
  inProject(({ run, ran, write }) => {
    write("package-lock.json", "no lock file");
    const { status, stderr } = run(["test"]);
    assert.equal(status, 1);
    assert.match(
      stderr,
      /kenpin: npm ci failed; check that this machine reaches its npm registry \(npm ping\), then run the command again\n$/,
    );
    assert.deepEqual(ran(), []);
  });
});

test("an unknown command names those there are", () => {
  for (const args of [[], ["strat"], ["toString"]]) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [BOOTSTRAP, ...args], { encoding: "utf8" });
    assert.deepEqual([status, stdout], [1, ""]);
    assert.equal(
      stderr,
      `kenpin: unknown command "${args[0] ?? ""}"; expected one of: start, kenpin, agent, test, check, bench:int8, study, setup\n`,
    );
  }
});

test("an older Node hands over to the newer one in the user's cache, which stands first on the PATH", () => {
  inProject(({ dir, run, ran, write }) => {
    const version = /NODE_VERSION = "([\d.]+)"/.exec(readFileSync(BOOTSTRAP, "utf8"))?.[1];
    const bin = join(dir, `cache/node-${version}/node_modules/node-${process.platform}-${process.arch}/bin`);
    mkdirSync(bin, { recursive: true });
    symlinkSync(process.execPath, join(bin, "node"));
    write("test/run.ts", `console.log(process.env.PATH.split(":")[0], process.argv.slice(2).join());`);
    const pretend = (node: string) => [
      "--import",
      `data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"${node}"}})`,
    ];
    for (const old of ["18.20.8", "20.11.0", "22.17.1"]) {
      const { status, stdout, stderr } = run(["test", "word"], { before: pretend(old) });
      assert.equal(status, 0, stderr);
      assert.equal(stdout.trim().split("\n").at(-1), `${bin} word`, `from ${old}`);
    }
    const young = run(["test", "word"], { before: pretend("22.18.0") });
    assert.ok(!young.stdout.includes(bin), "22.18 runs it itself");
    ran();
  });
});

test("the script is one that Node 18 reads: it imports built-ins only", () => {
  const text = readFileSync(BOOTSTRAP, "utf8");
  const imports = [...text.matchAll(/^import .* from "(.*)";$/gm)].map(([, name]) => name as string);
  assert.ok(imports.length > 3 && imports.every((name) => name.startsWith("node:")), imports.join());
  assert.doesNotMatch(text, /import\.meta\.(dirname|filename)|\.toSorted\(|\.findLast\(|Promise\.withResolvers|Object\.groupBy/);
});
