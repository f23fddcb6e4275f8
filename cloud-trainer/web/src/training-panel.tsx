/** The latest training run: where it stands, its loss curve, and what came of it. */
import type { RunProgress, RunRow } from "@kenpin/schema";
import type { ComponentChildren } from "preact";
import { LossCurve } from "./loss-curve.tsx";
import type { Language, Texts } from "./texts.ts";

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
      <dl class="facts">
        <Fact name={t.loss}>{loss === null ? "–" : loss.toFixed(3)}</Fact>
        <Fact name={t.imagesPerSecond}>{imagesPerSecond === null ? "–" : number.format(imagesPerSecond)}</Fact>
        <Fact name={t.timeLeft}>{secondsLeft === null ? "–" : duration(secondsLeft)}</Fact>
      </dl>
    </>
  );
}

function Result({ result, language, t }: { result: NonNullable<RunRow["result"]>; language: Language; t: Texts }) {
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const { bundle, release, heldOut, training } = result;
  return (
    <dl class="facts">
      <Fact name={t.newBundle}>
        <code>{bundle.slice(0, 8)}</code> · {t.release} {release}
      </Fact>
      <Fact name={t.heldOut}>
        {heldOut.auroc === null ? t.notMeasured : heldOut.auroc.toFixed(3)} <small>{t.heldOutImages(number.format(heldOut.images))}</small>
      </Fact>
      <Fact name={t.imagesPerSecond}>{number.format(training.imagesPerSecond)}</Fact>
      <Fact name={t.duration}>{duration(training.seconds)}</Fact>
      <Fact name={t.stagesRun}>
        {training.stages.map(({ stage, steps }) => `${t.stages[stage] ?? stage} ${number.format(steps)}`).join(" → ")}
      </Fact>
      <Fact name={t.student}>
        <span title={training.student.why}>{training.student.shipped ? t.studentShipped : t.teacherKept}</span>{" "}
        <small>
          {t.parameters(number.format(training.student.parameters[training.student.shipped ? "student" : "teacher"] / 1e6))} ·{" "}
          {training.int8.shipped ? t.eightBits : t.float}
        </small>
      </Fact>
    </dl>
  );
}

/** Each stage has a loss of its own: two of them on one axis would say nothing. */
function ofLastStage(curve: RunProgress[]): RunProgress[] {
  const learning = curve.filter(({ loss }) => loss !== null);
  const last = learning.at(-1)?.stage;
  return learning.filter(({ stage }) => stage === last);
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function duration(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
