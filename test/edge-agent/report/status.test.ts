/** When the agent says how it stands, and how a hub that waits at a gap is told to go on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type AgentHealth, AgentStatus, type InspectorStatus } from "@kenpin/schema";
import { offlineStatus, StatusBeat } from "../../../edge-agent/src/report/status.ts";
import { until } from "../edge-site.ts";

const BOOT = "01890000-0000-7000-8000-000000000000";

test("a hub that waits where rows were shed is told where the stream goes on, one without a gap is not", async () => {
  const state = { backlog: 5, from: 4 };
  await withBeat(state, async (beat, said) => {
    beat.publish();
    beat.compare({ schemaVersion: 1, boots: [{ bootId: BOOT, seq: 3 }] });
    await sleep(1500);
    assert.equal(said.length, 1);
    state.from = 9; // 4 to 8 were shed
    beat.compare({ schemaVersion: 1, boots: [{ bootId: BOOT, seq: 3 }] });
    await until("the new status", () => said.length === 2);
    assert.deepEqual(said[1]?.outbox, [{ bootId: BOOT, from: 9 }]);
  });
});

test("a backlog that passes to or from nothing is said once it has settled", async () => {
  const state = { backlog: 0, from: 1 };
  await withBeat(state, async (beat, said) => {
    beat.publish();
    for (state.backlog = 1; state.backlog < 50; state.backlog++) beat.consider();
    await until("the backlog", () => said.length === 2);
    assert.equal(said[1]?.backlog, 50);
    state.backlog = 0;
    beat.consider();
    await until("nothing waiting", () => said.length === 3);
    assert.equal(said[2]?.backlog, 0);
  });
});

test("the will is a whole status of its own", () => {
  assert.equal(AgentStatus.parse(offlineStatus(BOOT)).state, "offline");
});

test("an inspector that is being built is said, and how far it is, until it runs", async () => {
  const state: State = { backlog: 0, from: 1, inspector: { state: "starting", runtime: "python", provider: "none" } };
  await withBeat(state, async (beat, said) => {
    beat.publish();
    const building = { provider: "tensorrt", elapsedMs: 5000, expectedMs: 400_000 };
    state.inspector = { state: "building-engine", runtime: "python", provider: "none", building };
    beat.consider();
    await until("the build", () => said.length === 2);
    assert.deepEqual(said[1]?.inspector?.building, building);
    state.inspector = { state: "running", runtime: "python", provider: "tensorrt" };
    beat.consider();
    await until("its end", () => said.length === 3);
    assert.deepEqual(said[2]?.inspector, state.inspector);
  });
});

test("a camera that begins to drift is said, and when it ends", async () => {
  const state: State = { backlog: 0, from: 1 };
  await withBeat(state, async (beat, said) => {
    beat.publish();
    state.health = { ...WELL, drifting: ["line"] };
    beat.consider();
    await until("the drift", () => said.length === 2);
    assert.deepEqual(said[1]?.health?.drifting, ["line"]);
    state.health = WELL;
    beat.consider();
    await until("its end", () => said.length === 3);
  });
});

type State = { backlog: number; from: number; inspector?: InspectorStatus; health?: AgentHealth };
const WELL: AgentHealth = { drifting: [], diskShort: false, quarantine: null };
const RUNNING: InspectorStatus = { state: "running", runtime: "node", provider: "cpu" };

async function withBeat(state: State, work: (beat: StatusBeat, said: AgentStatus[]) => Promise<void>): Promise<void> {
  const said: AgentStatus[] = [];
  const beat = new StatusBeat({
    bootId: BOOT,
    backlog: () => state.backlog,
    starts: () => [{ bootId: BOOT, from: state.from }],
    inspector: () => state.inspector ?? RUNNING,
    health: () => state.health ?? WELL,
    cameras: () => [],
    publish: (status) => said.push(AgentStatus.parse(status)),
  });
  try {
    await work(beat, said);
  } finally {
    beat.stop();
  }
}
