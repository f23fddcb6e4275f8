/**
 * Training runs: one at a time, each in DIR/runs/<id> and in a process of its own. In: a parent bundle and what people
 * labelled. Out: progress for the pages, and at the end a sealed bundle that remembers its model, or a clear reason.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type BundleRow,
  errorLine,
  KenpinError,
  type PartWords,
  parseAtDoor,
  RunProgress,
  type RunRequest,
  type RunRow,
} from "@kenpin/schema";
import type { Logger } from "pino";
import { Refusal } from "@kenpin/page";
import type { Database, Emit } from "../ports.ts";
import { type TrainingSample, TuneJob, TuneResult } from "../tune-job.ts";
import { startTrainer, type TrainerCommand, type TrainerProcess } from "../trainer-process.ts";

const TABLES = [
  `CREATE TABLE runs (
     row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, request TEXT NOT NULL,
     started_at TEXT NOT NULL, progress TEXT, error TEXT, result TEXT) STRICT;
   CREATE TABLE run_progress (run TEXT NOT NULL, row INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run, row)) STRICT`,
];
/** A curve on a page has no more points than this; later lines are shown as they come and not kept. */
const CURVE_POINTS = 5000;
const LISTED_RUNS = 50;

export type RunsOptions = {
  database: Database;
  dataDir: string;
  trainer: TrainerCommand;
  originOf: (bundle: string) => Promise<{ modelDir: string; words: PartWords } | null>;
  learnable: () => Promise<TrainingSample[]>;
  seal: (options: SealRun) => Promise<BundleRow>;
  emit: Emit;
  log: Logger;
};
type SealRun = {
  folder: string;
  staged: TuneResult["manifest"];
  name: string;
  lineage: { run: string; parent: string; data: TuneResult["data"]; recipe: string };
  words: PartWords;
  model: string;
};
type Current = { id: string; child: TrainerProcess | null; ended: Promise<void> };
type Stored = { id: string; state: RunRow["state"]; request: string; startedAt: string } & Record<
  "progress" | "error" | "result",
  string | null
>;
export type Runs = Awaited<ReturnType<typeof openRuns>>;

export async function openRuns(options: RunsOptions) {
  const { database, dataDir, log } = options;
  await database.migrate("runs", TABLES);
  await database.run(
    "UPDATE runs SET state = 'failed', error = ? WHERE state = 'running'",
    "the hub was stopped while it ran; start it again",
  );
  const now: { run: Current | null } = { run: null };
  let stopping = false;

  const rows = async (where: string, ...values: (string | number)[]): Promise<RunRow[]> => {
    const sql = `SELECT id, state, request, started_at AS startedAt, progress, error, result FROM runs ${where}`;
    return (await database.all<Stored>(sql, ...values)).map(toRow);
  };
  const row = async (id: string): Promise<RunRow | null> => (await rows("WHERE id = ?", id))[0] ?? null;
  const tell = async (id: string): Promise<void> => {
    const data = await row(id);
    if (data) options.emit({ type: "run", data });
  };

  const start = async (request: RunRequest): Promise<RunRow> => {
    if (now.run) throw new Refusal(409, "run-under-way", `the run ${now.run.id} is under way; one runs at a time`);
    const id = runId();
    const mine: Current = { id, child: null, ended: Promise.resolve() };
    now.run = mine; // taken before the first await, so that two requests cannot both pass
    try {
      const { job, words } = await prepare(id, request, options);
      const folder = join(dataDir, "runs", id);
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "job.json"), `${JSON.stringify(job, null, 2)}\n`, { flush: true });
      const sql = "INSERT INTO runs (id, state, request, started_at) VALUES (?, 'running', ?, ?)";
      await database.run(sql, id, JSON.stringify(request), new Date().toISOString());
      mine.child = startTrainer(options.trainer, ["tune", "--run", folder], keepProgress(id, database, tell), {
        folder,
        onRestart: (why) => log.warn({ run: id, why }, "trainer-restarted"),
      });
      log.info({ run: id, samples: job.samples.length, trainerPid: mine.child.pid() }, "run-started");
      // What cannot even be recorded (a full disk) must not take the hub with it; at its next start the run is called failed.
      mine.ended = follow(id, request, words, mine.child)
        .catch((error: unknown) => log.error({ run: id, error: errorLine(error) }, "run-not-recorded"))
        .finally(() => {
          now.run = null;
        });
    } catch (error) {
      now.run = null;
      throw error;
    }
    await tell(id);
    return (await row(id)) as RunRow;
  };

  const follow = async (id: string, request: RunRequest, words: PartWords, child: TrainerProcess): Promise<void> => {
    try {
      await child.done;
      const result = await finish(id, request, words, options);
      await database.run("UPDATE runs SET state = 'done', result = ? WHERE id = ?", JSON.stringify(result), id);
      log.info({ run: id, bundle: result.bundle }, "run-done");
    } catch (error) {
      const why = stopping ? "the hub was stopped while it ran; start it again" : errorLine(error);
      await database.run("UPDATE runs SET state = 'failed', error = ? WHERE id = ?", why, id);
      log.error({ run: id, error: why }, "run-failed");
    }
    await tell(id);
  };

  return {
    start,
    row,
    rows: () => rows("ORDER BY row DESC LIMIT ?", LISTED_RUNS),
    progress: async (id: string): Promise<RunProgress[]> => {
      const sql = "SELECT body FROM run_progress WHERE run = ? ORDER BY row";
      return (await database.all<{ body: string }>(sql, id)).map(({ body }) => JSON.parse(body));
    },
    stop: async () => {
      stopping = true;
      await now.run?.child?.stop();
      await now.run?.ended;
    },
  };
}

async function prepare(id: string, request: RunRequest, { originOf, learnable }: RunsOptions) {
  const origin = await originOf(request.parent);
  if (!origin) throw new Refusal(404, "bundle-unknown", `this hub holds no bundle ${request.parent} to start from`);
  const samples = await learnable();
  if (samples.length === 0) {
    throw new Refusal(409, "nothing-to-learn-from", "no whole frame is labelled good or bad yet; label some samples, then start the run");
  }
  const { budgetSeconds, seed } = request;
  const job = TuneJob.parse({ run: id, parentModel: origin.modelDir, words: origin.words, samples, budgetSeconds, seed });
  return { job, words: origin.words };
}

async function finish(
  id: string,
  request: RunRequest,
  words: PartWords,
  { dataDir, seal }: RunsOptions,
): Promise<NonNullable<RunRow["result"]>> {
  const folder = join(dataDir, "runs", id);
  const { manifest, recipe, data, training, heldOut } = await readResult(join(folder, "result.json"));
  const bundle = await seal({
    folder: join(folder, "staged"),
    staged: manifest,
    name: request.name,
    lineage: { run: id, parent: request.parent, data, recipe },
    words,
    model: `runs/${id}/model`,
  });
  return { bundle: bundle.digest, bytes: bundle.bytes, release: bundle.release, training, heldOut };
}

async function readResult(file: string): Promise<TuneResult> {
  try {
    return parseAtDoor(TuneResult, JSON.parse(await readFile(file, "utf8")), "result.json");
  } catch (error) {
    if (error instanceof KenpinError) throw error;
    throw new KenpinError("run-result-missing", `the trainer ended well but left no readable result.json: ${(error as Error).message}`);
  }
}

/** Progress goes to the page and into the curve; lines that are none of ours are passed over. */
function keepProgress(id: string, database: Database, tell: (id: string) => Promise<void>): (line: string) => void {
  let kept = 0;
  return (line) => {
    const progress = RunProgress.safeParse(parseLine(line));
    if (!progress.success) return;
    const body = JSON.stringify(progress.data);
    const keep = async () => {
      await database.run("UPDATE runs SET progress = ? WHERE id = ?", body, id);
      if (kept < CURVE_POINTS) await database.run("INSERT INTO run_progress VALUES (?, ?, ?)", id, kept++, body);
      await tell(id);
    };
    void keep().catch(() => undefined); // the next line says more; the run itself does not hang on it
  };
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

/** Sorts by time in a folder listing; the tail keeps two of one second apart. */
function runId(): string {
  const time = new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-");
  return `run-${time}-${randomBytes(2).toString("hex")}`;
}

function toRow({ id, state, request, startedAt, progress, error, result }: Stored): RunRow {
  const parsed = (text: string | null) => (text === null ? null : JSON.parse(text));
  return { id, state, request: JSON.parse(request), startedAt, progress: parsed(progress), error, result: parsed(result) };
}
