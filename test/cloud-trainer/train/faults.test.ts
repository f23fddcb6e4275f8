/**
 * Everything that can go wrong in the middle of a training, done to a real small CLIP: it goes on, and still learns its task.
 * The faults are put in through the same doors that data, gradients, weights and optimizer come through.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom } from "@kenpin/stats";
import { loadBackend, type Tensor } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import type { LossAndGradients } from "../../../cloud-trainer/src/train/engines/tfjs/objective.ts";
import { openRunFolder } from "../../../cloud-trainer/src/train/run-folder.ts";
import { runSteps, type StageEvent } from "../../../cloud-trainer/src/train/engines/tfjs/steps.ts";
import { toTensors } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { inFolder } from "../import/seeded-checkpoint.ts";
import { type TinyBatch, tinyBatch, tinyTraining } from "./tiny-clip.ts";

const { tf } = await loadBackend();
const STEPS = 60;
/** Well after the warm-up, when most pictures are told apart. */
const WHEN = 33;
/** Guessing among eight captions costs ln 8 = 2.08. */
const LEARNED = 0.5;

type Training = ReturnType<typeof tinyTraining>;
type Fault = {
  /** What is drawn instead of batch `draw`. */
  batch?: (draw: number) => TinyBatch;
  /** Done before the gradients of the batch drawn `count`-th are made, and to them. */
  before?: (training: Training, count: number) => void;
  after?: (made: LossAndGradients, count: number) => LossAndGradients;
  /** Factor of the rate at the `count`-th batch. */
  rate?: (count: number) => number;
};

/** Trains with the fault, learns the task all the same, and answers with what was told meanwhile. */
async function survive(fault: Fault): Promise<StageEvent[]> {
  const told = await trainWith(fault, null);
  return told.filter(({ event }) => event !== "checkpoint");
}

/** The same with checkpoints on the disk, which must change nothing. */
async function surviveOnDisk(fault: Fault): Promise<StageEvent[]> {
  const told = await survive(fault);
  await inFolder(async (dir) => {
    const again = await trainWith(fault, dir);
    assert.deepEqual(
      again.filter(({ event }) => event !== "checkpoint"),
      told,
    );
  });
  return told;
}

async function trainWith(fault: Fault, dir: string | null): Promise<StageEvent[]> {
  const training = tinyTraining(tf, { steps: STEPS });
  const events: StageEvent[] = [];
  const losses: number[] = [];
  let count = -1;
  const folder = dir ? await openRunFolder(dir) : null;
  const figures = await runSteps({
    ...training,
    folder,
    batchAt: (draw) => fault.batch?.(draw) ?? tinyBatch(draw),
    objective: (batch: TinyBatch) => {
      count++;
      fault.before?.(training, count);
      const made = training.objective(batch);
      return fault.after?.(made, count) ?? made;
    },
    optimizer: {
      ...training.optimizer,
      step: (weights, gradients, { rate, norm }) =>
        training.optimizer.step(weights, gradients, { rate: rate * (fault.rate?.(count) ?? 1), norm }),
    },
    onStep: ({ loss }) => losses.push(loss),
    onEvent: (event) => events.push(event),
  });
  folder?.close();
  assert.equal(figures.steps, STEPS);
  assert.ok(Math.max(...losses.slice(-5)) < LEARNED, `not learned: ${losses.slice(-5)}\n${JSON.stringify(events, null, 1)}`);
  for (const tensors of [toTensors(training.weights), training.average.tensors(), training.optimizer.state()])
    for (const [name, { data }] of tensors) assert.ok(data.every(Number.isFinite), name);
  tf.dispose([...training.weights.values()]);
  return events;
}

const kinds = (events: StageEvent[]) => events.map(({ event }) => event);

test("an undisturbed training is left alone", async () => {
  assert.deepEqual(await survive({}), []);
});

test("a batch with NaN pixels is skipped", async () => {
  const events = await survive({
    batch: (draw) => {
      const batch = tinyBatch(draw);
      if (draw === WHEN) batch.pixelValues[100] = Number.NaN;
      return batch;
    },
  });
  assert.deepEqual(kinds(events), ["skipped"]);
  assert.match(events[0]?.why ?? "", /the loss is NaN/);
});

test("an infinite loss is skipped, though its gradients are finite", async () => {
  const events = await survive({
    after: (made, count) => (count === WHEN ? { ...made, loss: tf.scalar(Number.POSITIVE_INFINITY) } : made),
  });
  assert.deepEqual(
    events.map(({ event, why }) => [event, why]),
    [["skipped", "the loss is Infinity"]],
  );
});

test("gradients a million times too large are skipped", async () => {
  const events = await survive({
    after: ({ gradients, ...rest }, count) => {
      if (count !== WHEN) return { ...rest, gradients };
      const large = new Map([...gradients].map(([name, gradient]): [string, Tensor] => [name, tf.mul(gradient, 1e6)]));
      return { ...rest, gradients: large };
    },
  });
  assert.deepEqual(kinds(events), ["skipped"]);
  assert.match(events[0]?.why ?? "", /the gradient's norm is .*e\+/);
});

test("weights that become NaN are brought back from the last good step", async () => {
  const events = await survive({
    before: ({ weights }, count) => {
      const name = "visual.trunk.blocks.0.attn.q_proj.weight";
      if (count === WHEN) weights.get(name)?.assign(tf.fill(weights.get(name)?.shape ?? [], Number.NaN));
    },
  });
  assert.deepEqual(kinds(events), ["skipped", "skipped", "skipped", "rolled-back"]);
  assert.match(events.at(-1)?.why ?? "", /from step 33 back to 30, the rate at 0\.5 of the schedule's/);
});

test("weights that become finite nonsense are brought back too, although a checkpoint was made of them", async () => {
  const events = await surviveOnDisk({
    // After the 40th step, so that the checkpoint of step 40 holds them.
    rate: (count) => (count === 39 ? 1e5 : 1),
  });
  assert.ok(kinds(events).filter((kind) => kind === "rolled-back").length >= 2, kinds(events).join());
  assert.match(events.filter(({ event }) => event === "rolled-back").at(-1)?.why ?? "", /back to 30,/);
});

test("a checkpoint is never made of weights that are no numbers", async () => {
  // The step that a checkpoint is due after spoils them; nothing else would show before the next batch.
  const events = await surviveOnDisk({ rate: (count) => (count === 39 ? Number.NaN : 1) });
  assert.deepEqual(kinds(events), ["rolled-back"]);
  assert.match(events[0]?.why ?? "", /the state is not finite: .* holds NaN; from step 40 back to 30/);
});

test("an optimizer's moments that become NaN are brought back with the weights they spoilt", async () => {
  const events = await surviveOnDisk({
    before: ({ optimizer }, count) => {
      if (count !== WHEN) return;
      const state = optimizer.state();
      for (const [name, { data }] of state) if (name.startsWith("v.visual")) data.fill(Number.NaN);
      optimizer.load(state);
    },
  });
  assert.equal(kinds(events).at(-1), "rolled-back");
  assert.equal(kinds(events).filter((kind) => kind === "rolled-back").length, 1);
});

test("batches that cannot be drawn are passed over", async () => {
  const events = await survive({
    batch: (draw) => {
      if (draw >= WHEN && draw < WHEN + 3) throw new Error(`picture ${draw} is no picture`);
      return tinyBatch(draw);
    },
  });
  assert.deepEqual(
    events.map(({ event, why }) => [event, why]),
    [33, 34, 35].map((draw) => ["batch-failed", `batch ${draw} cannot be drawn: picture ${draw} is no picture`]),
  );
});

test("twenty bad batches in a row do no harm, however often the training goes back", async () => {
  const events = await survive({ batch: (draw) => (draw >= 40 && draw < 60 ? strangeBatch(draw) : tinyBatch(draw)) });
  assert.ok(kinds(events).includes("rolled-back"), kinds(events).join());
});

test("a rate a thousand times too high for a while is survived", async () => {
  const events = await survive({ rate: (count) => (count >= WHEN && count < WHEN + 6 ? 1000 : 1) });
  assert.ok(kinds(events).includes("rolled-back"), kinds(events).join());
});

test("data that is wrong from one batch on ends the run with a clear error, and the last good weights", async () => {
  await inFolder(async (dir) => {
    const training = tinyTraining(tf, { steps: 500 });
    const batchAt = (draw: number) => (draw >= 40 ? strangeBatch(draw) : tinyBatch(draw));
    const folder = await openRunFolder(dir);
    await assert.rejects(runSteps({ ...training, batchAt, folder }), {
      code: "training-diverged",
      message: /came apart at step \d+ .* after 3 rollbacks .*the last good step is (30|40): lower the rate/,
    });
    folder.close();
    const again = await openRunFolder(dir);
    const { checkpoint } = await again.resume();
    again.close();
    for (const [name, { data }] of checkpoint?.tensors.get("model.safetensors") ?? []) assert.ok(data.every(Number.isFinite), name);
  });
});

test("weights that are no numbers to begin with are refused before the first step", async () => {
  const training = tinyTraining(tf);
  training.weights.get("logit_scale")?.assign(tf.scalar(Number.NaN));
  await assert.rejects(runSteps(training), { code: "weights-not-finite", message: /logit_scale holds NaN/ });
});

test("ten batches in a row that cannot be drawn end the run with the reason", async () => {
  const batchAt = (): TinyBatch => {
    throw new Error("the disk is gone");
  };
  await assert.rejects(runSteps({ ...tinyTraining(tf), batchAt }), {
    code: "batches-unreadable",
    message: /10 batches .*the disk is gone/,
  });
});

/** Pictures with each other's captions, differently each time, and stronger than any seen before. */
function strangeBatch(draw: number): TinyBatch {
  const batch = tinyBatch(draw);
  const by = 1 + createRandom(draw).int(7);
  return {
    ...batch,
    pixelValues: batch.pixelValues.map((value) => value * 5),
    ids: batch.ids.map((_, i) => batch.ids[(i + by) % 8] as Int32Array),
  };
}
