/** The latest training run: where it stands, its loss curve, and what came of it. */
import { type Fact, Facts, type Language } from "@kenpin/page/web";
import type { RunProgress, RunRow } from "@kenpin/schema";
import { LossCurve } from "./loss-curve.tsx";
import type { Texts } from "./texts.ts";

type Props = { run: RunRow | null; curve: RunProgress[]; language: Language; t: Texts };

export function TrainingPanel({ run, curve, language, t }: Props) {
  return (
    <section class="training card" aria-label={t.training}>
      <header>
        <h2>{t.training}</h2>
        {run && <span class={`tag ${run.state}`}>{t[run.state]}</span>}
        {run && <span class="name">{run.request.name}</span>}
      </header>
      {run ? <Run run={run} curve={curve} language={language} t={t} /> : <p class="empty">{t.noRun}</p>}
    </section>
  );
}

function Run({ run, curve, language, t }: Props & { run: RunRow }) {
  return (
    <>
      {run.state === "running" && <Progress progress={run.progress} language={language} t={t} />}
      <LossCurve curve={ofLastStage(curve)} t={t} />
      {run.state === "failed" && (
        <p class="warning" role="alert">
          {run.error}
        </p>
      )}
      {run.result && <Result result={run.result} language={language} t={t} />}
    </>
  );
}

function Progress({ progress, language, t }: { progress: RunProgress | null; language: Language; t: Texts }) {
  if (!progress) return <p class="empty">{t.starting}</p>;
  const { stage, step, steps, loss, imagesPerSecond, secondsLeft } = progress;
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  return (
    <>
      <div class="progress">
        <span>{t.stages[stage] ?? stage}</span>
        <progress max={Math.max(steps, 1)} value={step} aria-label={t.stages[stage] ?? stage} />
        <span>
          {t.step} {number.format(step)} / {number.format(steps)}
        </span>
      </div>
      <Facts
        facts={[
          [t.loss, loss === null ? "–" : loss.toFixed(3)],
          [t.imagesPerSecond, imagesPerSecond === null ? "–" : number.format(imagesPerSecond)],
          [t.timeLeft, secondsLeft === null ? "–" : duration(secondsLeft)],
        ]}
      />
    </>
  );
}

function Result({ result, language, t }: { result: NonNullable<RunRow["result"]>; language: Language; t: Texts }) {
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const { bundle, release, heldOut, training } = result;
  const { student, int8, stages } = training;
  const facts: Fact[] = [
    [
      t.newBundle,
      <>
        <code>{bundle.slice(0, 8)}</code> · {t.release} {release}
      </>,
    ],
    [
      t.heldOut,
      <>
        {heldOut.auroc === null ? t.notMeasured : heldOut.auroc.toFixed(3)} <small>{t.heldOutImages(number.format(heldOut.images))}</small>
      </>,
    ],
    [t.imagesPerSecond, number.format(training.imagesPerSecond)],
    [t.duration, duration(training.seconds)],
    [t.stagesRun, stages.map(({ stage, steps }) => `${t.stages[stage] ?? stage} ${number.format(steps)}`).join(" → ")],
    [
      t.student,
      <>
        <span title={student.why}>{student.shipped ? t.studentShipped : t.teacherKept}</span>{" "}
        <small>
          {t.parameters(number.format(student.parameters[student.shipped ? "student" : "teacher"] / 1e6))} ·{" "}
          {int8.shipped ? t.eightBits : t.float}
        </small>
      </>,
    ],
  ];
  return <Facts facts={facts} />;
}

/** Each stage has a loss of its own: two of them on one axis would say nothing. */
function ofLastStage(curve: RunProgress[]): RunProgress[] {
  const learning = curve.filter(({ loss }) => loss !== null);
  const last = learning.at(-1)?.stage;
  return learning.filter(({ stage }) => stage === last);
}

function duration(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
