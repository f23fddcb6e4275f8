/**
 * One frame's way through the agent: capture → inspect → watch → decide → record → report, then samples.
 * The order is the promise: decide, the line's output, commit, publish, and only then learn. The frame's file is removed
 * last, by the camera, so whatever dies in between, every frame is answered once.
 */
import type { Inspection } from "@kenpin/inspector";
import type { AgentConfig, UnknownReason, Verdict } from "@kenpin/schema";
import { draftVerdict } from "./decide/verdict-draft.ts";
import type { Frame } from "./frame.ts";
import { failed, type Seen, type Supervisor } from "./inspect/supervisor.ts";
import type { Recent } from "./operate/recent.ts";
import type { Journal } from "./record/journal.ts";
import type { Reporter } from "./report/reporter.ts";
import type { Sampler } from "./samples/sampler.ts";
import type { Uploader } from "./samples/uploader.ts";
import type { Stations } from "./stations.ts";
import type { ReferenceStore } from "./update/reference-store.ts";
import type { CameraWatch } from "./watch/camera-watch.ts";
import type { DriftMonitor } from "./watch/drift-monitor.ts";

export type Stages = {
  config: AgentConfig;
  supervisor: Supervisor;
  watches: ReadonlyMap<string, CameraWatch>;
  stations: Stations;
  drift: DriftMonitor;
  journal: Journal;
  reporter: Reporter;
  references: ReferenceStore;
  /** Told that a reference frame was kept. */
  onReference: () => void;
  sampler: Sampler;
  uploader: Uploader;
  /** For whoever watches: the verdict is on the disk. */
  recent: Recent;
};

/** Answers a frame; returns once its verdict is on the disk and its file may go. null: it had its verdict before. */
export async function answerFrame(stages: Stages, frame: Frame): Promise<Verdict | null> {
  if (stages.journal.hasVerdict(frame)) return null; // left over by a crash between commit and removal
  return decideFrame(stages, frame, await look(stages, frame));
}

/** Answers a picture that a program asks about, as a frame is answered. */
export async function answerAsked(stages: Stages, frame: Frame, map: boolean): Promise<{ verdict: Verdict; map: Uint8Array | null }> {
  const seen = await look(stages, frame, map);
  const verdict = await decideFrame(stages, frame, seen);
  stages.journal.fileRemoved(frame); // there is no file to wait for
  return { verdict, map: map ? seen.map : null };
}

async function decideFrame(stages: Stages, frame: Frame, seen: Seen): Promise<Verdict> {
  const { config, watches, stations, drift, journal, reporter, references, onReference, recent } = stages;
  const doubt = watches.get(frame.camera.name)?.judge(frame, seen.inspection) ?? null;
  const { setup, provider, inspection, failure } = seen;
  stations.seen(seen);
  const late = stations.isLate(frame) ? "deadline-missed" : null;
  const draft = draftVerdict({ config, frame, inspection, distrust: failure ?? late ?? doubt, setup, provider });
  await stations.take(frame, draft); // the line has it before anything is written down
  const reference = await keepReference(stages, frame, seen.inspection, doubt);
  const verdict = journal.commitVerdict(draft, frame, () => {
    if (reference) references.add(frame.camera.name, frame.sha256);
  });
  reporter.wake();
  recent.take(verdict, frame.bytes);
  if (reference && doubt) watches.get(frame.camera.name)?.forget(); // what is taught is what should be shown from now on
  if (reference) onReference();
  else if (inspection) {
    if (!doubt) drift.see({ camera: frame.camera.name, takenAt: frame.takenAt, inspection, setup });
    await learn(stages, frame, verdict, { ...seen, inspection });
  }
  return verdict;
}

async function look({ supervisor }: Stages, { bytes, unseen, takenAt, camera }: Frame, map = false): Promise<Seen> {
  if (!bytes) return failed(supervisor.setup, "none", unseen);
  if (performance.now() - takenAt > camera.deadlineMs) return failed(supervisor.setup, "none", "deadline-missed"); // it waited too long
  return supervisor.inspect({ bytes, takenAt, deadlineMs: camera.deadlineMs, map });
}

/**
 * While teaching, a frame that could be looked at becomes a reference, also one that is foreign to what was taught before; its
 * bytes are on the disk before its row.
 */
async function keepReference(
  { references }: Stages,
  { camera, sha256, bytes }: Frame,
  inspection: Inspection | null,
  doubt: UnknownReason | null,
): Promise<boolean> {
  if (!references.wants(camera.name) || !inspection || (doubt && doubt !== "out-of-domain") || !bytes) return false;
  await references.keep(sha256, bytes);
  return true;
}

async function learn(stages: Stages, frame: Frame, verdict: Verdict, seen: Seen & { inspection: Inspection }): Promise<void> {
  const { sampler, supervisor, drift, journal, reporter, uploader } = stages;
  const takeOffer = () => drift.takeOffer(frame.camera.name);
  const map = async () => {
    const again = { takenAt: performance.now(), deadlineMs: frame.camera.deadlineMs, map: true };
    return frame.bytes ? (await supervisor.inspect({ bytes: frame.bytes, ...again })).map : null;
  };
  const sample = await sampler.consider({ frame, verdict, inspection: seen.inspection, setup: seen.setup, takeOffer, map });
  if (!sample) return;
  journal.commitSample(sample.draft, sample.within);
  reporter.wake();
  uploader.wake();
}
