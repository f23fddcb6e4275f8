/**
 * The hub, from end to end: what agents say goes up into the ledger, what people say of it goes into labels, runs turn
 * both into bundles, and rollouts send those down. Stages know nothing of one another; this file joins them.
 */
import { join, resolve } from "node:path";
import { assetRoutes, startEvents } from "@kenpin/page";
import type { HubEvent } from "@kenpin/schema";
import type { Logger } from "pino";
import { bundleRoutes } from "./bundle/bundle-routes.ts";
import { openKeys } from "./bundle/keys.ts";
import { openShelf } from "./bundle/shelf.ts";
import { stageInProcess } from "./bundle/stage-process.ts";
import { type Door, needs } from "./door.ts";
import { openHubLink } from "./hub-link.ts";
import { labelRoutes } from "./label/label-routes.ts";
import { openLabels } from "./label/labels.ts";
import { openAgents } from "./rollout/agents.ts";
import { startCommands } from "./rollout/commands.ts";
import { rolloutRoutes } from "./rollout/rollout-routes.ts";
import { openBlobs } from "./samples/blobs.ts";
import { startIngest } from "./samples/ingest.ts";
import { openLedger } from "./samples/ledger.ts";
import { sampleRoutes } from "./samples/sample-routes.ts";
import { openAccess } from "./serve/access.ts";
import { openDataFolder } from "./serve/data-folder.ts";
import { openDatabase } from "./serve/database.ts";
import { loginRoutes } from "./serve/login-routes.ts";
import { startNews } from "./serve/news.ts";
import { runRoutes } from "./serve/run-routes.ts";
import { openRuns } from "./serve/runs.ts";
import { startServer } from "./serve/server.ts";
import { summaryRoutes } from "./serve/summary.ts";
import { startTrainers, type TrainerCommand } from "./trainer-process.ts";

export type HubOptions = {
  dataDir: string;
  brokerUrl: string;
  host: string;
  port: number;
  allowHosts: readonly string[];
  /** How to start a `kenpin` command of this same program. */
  trainer: TrainerCommand;
  log: Logger;
};

const BASE_MODEL = resolve(import.meta.dirname, "../base");
const PAGE = resolve(import.meta.dirname, "../dist-web");
const PAGE_MISSING = "the page was not built; run npm run kenpin, or node cloud-trainer/web/build.ts";
const SWEEP_MS = 3_600_000;

export async function startHub({ dataDir, brokerUrl, host, port, allowHosts, trainer, log }: HubOptions) {
  await openDataFolder(dataDir);
  const database = openDatabase(join(dataDir, "hub.sqlite"));
  const keys = await openKeys({ dataDir, now: new Date(), log });
  const agents = await openAgents(database);
  const access = await openAccess({ database, dataDir, agentOf: agents.agentOf });
  const ledger = await openLedger(database);
  const blobs = await openBlobs({ database, dataDir });
  const labels = await openLabels(database);
  const trainers = startTrainers(trainer);
  const shelf = await openShelf({ database, dataDir, baseDir: BASE_MODEL, keys, stage: stageInProcess(trainers.run) });
  const events = startEvents<Door, HubEvent>({ guard: needs("viewer"), pages: 100, queuedEvents: 512 });
  const { emit } = events;
  const learnable = async () =>
    (await labels.learnable()).map(({ sample: { frame, reason, drawProbability }, label }) => {
      return { file: blobs.path(frame.sha256), sha256: frame.sha256, label, reason, drawProbability };
    });
  const runs = await openRuns({ database, dataDir, trainer, originOf: shelf.originOf, learnable, seal: shelf.sealRun, emit, log });

  const link = openHubLink({ brokerUrl, emit, log });
  const { publish } = link;
  const news = startNews({ emit, agentRow: agents.row, log });
  const { onAgent } = news;
  const onSample = (frame: string) => news.onSamples(labels.samplesOf(frame));
  const ingest = startIngest({ database, ledger, publish, emit, onSample, onAgent, log });
  const commands = startCommands({ signingKey: keys.signingKey, publish });

  link.listen({ agents, commands, ingest, onAgent });
  const sweep = setInterval(
    () => void blobs.sweep(Date.now()).catch((error: Error) => log.error({ error: error.message }, "sweep-failed")),
    SWEEP_MS,
  );

  const onBlob = (sha256: string) => news.onSamples(labels.samplesWith(sha256));
  const routes = [
    assetRoutes<Door>(PAGE, PAGE_MISSING),
    loginRoutes(access),
    sampleRoutes({ database, blobs, onBlob }),
    labelRoutes({ labels, onLabel: onSample }),
    bundleRoutes(shelf),
    runRoutes(runs),
    rolloutRoutes({ agents, commands, publish, rootKey: keys.rootKey, bundleOf: shelf.row, onAgent }),
    summaryRoutes({ database, samples: labels.counts, setAside: () => ingest.counts, broker: link.state }),
    events.routes,
  ];
  const stop = async () => {
    clearInterval(sweep);
    news.stop();
    events.stop();
    commands.stop();
    await Promise.all([runs.stop(), trainers.stop(), ingest.stop()]);
    await link.close();
    await database.close();
  };
  try {
    const server = await startServer({ host, port, allowHosts, access, routes, log });
    return {
      url: server.url,
      stop: async () => {
        events.stop();
        await server.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
