/** The loop on a real small CLIP: exact resume, what it reports, time budgets, growing memory, a full disk. */
import assert from "node:assert/strict";
import { readdir, readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { encodeSafetensors } from "@kenpin/clip";
import { loadBackend } from "../../../cloud-trainer/src/train/engines/tfjs/backend.ts";
import { runSteps, type StageEvent, type StageRun, type StepReport } from "../../../cloud-trainer/src/train/engines/tfjs/steps.ts";
import { toTensors } from "../../../cloud-trainer/src/train/engines/tfjs/weights.ts";
import { openRunFolder } from "../../../cloud-trainer/src/train/run-folder.ts";
import { mountSmallDisk } from "../../support/small-disk.ts";
import { inFolder } from "../import/seeded-checkpoint.ts";
import { type TinyBatch, tinyBatch, tinyTraining } from "./tiny-clip.ts";

const { tf } = await loadBackend();
const STEPS = 30;

/** One process's worth of a run in `dir`; ends at `until` as if it were interrupted. */
async function part(dir: string, { until, ...over }: Partial<StageRun<TinyBatch>> & { until?: number } = {}) {
  const training = tinyTraining(tf, { steps: STEPS });
  const folder = await openRunFolder(dir);
  const events: StageEvent[] = [];
  const stop = new AbortController();
  const ended = runSteps({
    ...training,
    checkpointEvery: 8,
    ...over,
    folder,
    onStep: ({ step }) => {
      // As a kill would: what came after the last checkpoint is lost.
      if (step === until) throw new Error("interrupted");
    },
    onEvent: (event) => events.push(event),
    signal: stop.signal,
  }).finally(() => folder.close());
  const figures = await ended.catch((error: Error) => {
    if (error.message !== "interrupted") throw error;
    return null;
  });
  const bytes = (tensors: ReturnType<typeof toTensors>) => Buffer.from(encodeSafetensors(tensors)).toString("base64");
  const weights = [toTensors(training.weights), training.average.tensors(), training.optimizer.state()].map(bytes);
  return { figures, events, weights };
}

const lossesIn = async (dir: string) =>
  (await readFile(join(dir, "metrics.jsonl"), "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Partial<StepReport & StageEvent>)
    .filter(({ event }) => event === undefined)
    .map(({ step, loss, gradientNorm, rate }) => [step, loss, gradientNorm, rate]);

test("a run interrupted three times, once with its newest checkpoint damaged, ends with the same losses and weights, bit for bit", async () => {
  await inFolder(async (whole) => {
    const undisturbed = await part(whole);
    assert.deepEqual(undisturbed.figures?.resumedAt, null);
    await inFolder(async (dir) => {
      await part(dir, { until: 5 });
      await part(dir, { until: 19 });
      await truncate(join(dir, "checkpoints/step-00000016/optimizer.safetensors"), 1000);
      await part(dir, { until: 27 });
      const last = await part(dir);
      assert.equal(last.figures?.resumedAt, 24);
      assert.match(last.events[0]?.why ?? "", /the numbers go on to the bit/);
      assert.deepEqual(last.weights, undisturbed.weights);
      assert.deepEqual(await lossesIn(dir), await lossesIn(whole));
      const again = await part(dir);
      assert.deepEqual([again.figures?.steps, again.figures?.resumedAt], [STEPS, STEPS], "a finished stage is not trained again");
      assert.deepEqual(again.weights, undisturbed.weights);
    });
  });
});

test("a damaged checkpoint and another number of threads are told of when the run goes on", async () => {
  await inFolder(async (dir) => {
    await part(dir, { until: 19 });
    await truncate(join(dir, "checkpoints/step-00000016/state.json"), 40);
    process.env["TF_NUM_INTRAOP_THREADS"] = "61";
    const { events } = await part(dir, { until: 9 });
    delete process.env["TF_NUM_INTRAOP_THREADS"];
    assert.deepEqual(
      events.slice(0, 2).map(({ event, step }) => [event, step]),
      [
        ["checkpoint-broken", 8],
        ["resumed", 8],
      ],
    );
    assert.match(events[0]?.why ?? "", /step-00000016 is passed over: state\.json/);
    assert.match(events[1]?.why ?? "", /will differ in their last bits .*threads \d+ before, 61 now/);
  });
});

test("a folder begun with another model is refused in words", async () => {
  await inFolder(async (dir) => {
    await part(dir, { until: 9 });
    const weights = new Map([...tinyTraining(tf).weights, ["patch_bias", tf.variable(tf.scalar(0))]]);
    await assert.rejects(part(dir, { weights }), { code: "checkpoint-mismatch", message: /patch_bias is \[missing\].*new folder/ });
  });
});

test("asked to stop, it saves where it is", async () => {
  await inFolder(async (dir) => {
    const stop = new AbortController();
    const folder = await openRunFolder(dir);
    const batchAt = (draw: number) => {
      if (draw === 11) stop.abort();
      return tinyBatch(draw);
    };
    await assert.rejects(runSteps({ ...tinyTraining(tf), folder, batchAt, checkpointEvery: 100, signal: stop.signal }), {
      name: "AbortError",
    });
    folder.close();
    assert.deepEqual(await readdir(join(dir, "checkpoints")), ["step-00000000", "step-00000012"]);
  });
});

test("each report has the loss and its parts, gradients by tower, rate, speed, and what is left", async () => {
  const reports: StepReport[] = [];
  const training = tinyTraining(tf, { steps: 12 });
  const norms: number[][] = [];
  const objective = (batch: TinyBatch) => {
    const made = training.objective(batch);
    const of = (wanted: (name: string) => boolean) =>
      Math.hypot(...[...made.gradients].flatMap(([name, gradient]) => (wanted(name) ? [...gradient.dataSync()] : [])));
    const [image, text] = [of((name) => name.startsWith("visual.")), of((name) => name.startsWith("text."))];
    norms.push([image, text, of((name) => name === "logit_scale")]);
    return made;
  };
  const tensors: number[] = [];
  const onStep = (report: StepReport) => {
    reports.push(report);
    tensors.push(tf.memory().numTensors);
  };
  await runSteps({ ...training, objective, onStep });
  assert.equal(new Set(tensors).size, 1, `tensors are left behind: ${tensors}`);
  assert.deepEqual(
    reports.map(({ step, steps, samplesSeen }) => [step, steps, samplesSeen]),
    reports.map((_, i) => [i + 1, 12, 8 * (i + 1)]),
  );
  for (const [i, report] of reports.entries()) {
    const { image, text, other } = report.norms;
    for (const [j, value] of [image, text, other].entries())
      assert.ok(Math.abs(value - (norms[i]?.[j] as number)) <= 1e-4 * value, `step ${i + 1}: ${value} and ${norms[i]?.[j]}`);
    assert.ok(Math.abs(report.gradientNorm - Math.hypot(image, text, other)) < 1e-9 * report.gradientNorm);
    assert.equal(report.parts["contrast"], report.loss);
    assert.ok(report.imagesPerSecond > 0 && report.memoryMb > 50 && (report.logitScale as number) > 10);
  }
  assert.deepEqual(
    reports.slice(0, 5).map(({ rate }) => Number(rate.toFixed(6))),
    [0.002, 0.004, 0.006, 0.008, 0.01],
  );
  assert.equal(reports.at(-1)?.secondsLeft, 0);
});

test("the logit scale never passes 100", async () => {
  const training = tinyTraining(tf, { steps: 3 });
  training.weights.get("logit_scale")?.assign(tf.scalar(Math.log(101)));
  await runSteps(training);
  assert.ok((training.weights.get("logit_scale")?.dataSync()[0] as number) <= Math.fround(Math.log(100)));
});

test("a time budget ends in time, with the rate near its floor, and counts the time of earlier processes", async () => {
  await inFolder(async (dir) => {
    const rates: number[] = [];
    const folder = await openRunFolder(dir);
    const budget = { ...tinyTraining(tf), folder, length: { seconds: 2 }, onStep: ({ rate }: StepReport) => rates.push(rate) };
    const { seconds, steps } = await runSteps(budget);
    assert.ok(seconds >= 2 && steps === rates.length && steps > 5);
    assert.ok((rates.at(-1) as number) < 0.3 * Math.max(...rates), `${rates}`);
    const again = await runSteps({ ...tinyTraining(tf), folder, length: { seconds: 2 } });
    assert.equal(again.resumedAt, steps);
    // A step's own checkpoint may have been written just before the time was over: one more is then taken.
    assert.ok(again.steps - steps <= 1, `the time is spent, and ${again.steps - steps} steps more were taken`);
    folder.close();
  });
});

test("memory above the limit is saved from and asks for a new process, which ends as if nothing had been", async () => {
  await inFolder(async (whole) => {
    const undisturbed = await part(whole);
    await inFolder(async (dir) => {
      const hoard: Buffer[] = [];
      const batchAt = (draw: number) => {
        if (draw >= 10) hoard.push(Buffer.alloc(100 * 2 ** 20, draw));
        return tinyBatch(draw);
      };
      const memoryLimitMb = Math.round(process.memoryUsage.rss() / 2 ** 20) + 300;
      await assert.rejects(part(dir, { batchAt, memoryLimitMb, checkpointEvery: 100 }), {
        code: "memory-recycle",
        message: /\d+ MB are in use, the limit is/,
      });
      assert.ok(hoard.length > 2);
      const { figures, weights } = await part(dir, { memoryLimitMb: 100_000 });
      assert.equal(figures?.resumedAt, 16);
      assert.deepEqual(weights, undisturbed.weights);
    });
  });
});

test("a limit that the training exceeds from the start is refused instead of starting for ever", async () => {
  await inFolder(async (dir) => {
    await assert.rejects(part(dir, { memoryLimitMb: 60 }), {
      code: "memory-limit-too-low",
      message: /after the first 8 steps, the limit is 60 MB/,
    });
  });
});

test("a disk that fills up ends the run with a clear error; with room again it goes on to the same weights", async (t) => {
  await inFolder(async (whole) => {
    await inFolder(async (dir) => {
      const disk = mountSmallDisk(dir, "1400k");
      if (!disk) return t.skip("this user may not mount a small file system");
      try {
        await assert.rejects(part(dir), { code: "disk-full", message: /the disk is full/ });
        const left = await readdir(join(dir, "checkpoints"));
        assert.ok(left.length > 0 && left.every((name) => /^step-\d{8}$/.test(name)), left.join());
        disk.resize("16m");
        const { figures, weights } = await part(dir);
        assert.ok(figures?.resumedAt !== null);
        assert.deepEqual(weights, (await part(whole)).weights);
      } finally {
        disk.remove();
      }
    });
  });
});
