/**
 * The wizard: five steps in a row, any of which may be left empty or visited again. It holds only which step is shown and which
 * camera was chosen; everything else is the agent's, so that a page opened anew goes on where the last one was.
 */
import type { PageState, SetupState } from "@kenpin/schema";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Act } from "./main.tsx";
import { GoodStep } from "./step-good.tsx";
import { LookStep } from "./step-look.tsx";
import { SourceStep } from "./step-source.tsx";
import { ThresholdStep } from "./step-threshold.tsx";
import { WordsStep } from "./step-words.tsx";
import type { Store } from "./store.ts";
import type { Texts } from "./texts.ts";

export type StepProps = {
  state: PageState;
  setup: SetupState;
  camera: string | null;
  onCamera: (camera: string | null) => void;
  store: Store;
  act: Act;
  t: Texts;
};

const STEPS = [SourceStep, GoodStep, WordsStep, LookStep, ThresholdStep];

export function SetupView({ state, setup, store, act, t }: Pick<StepProps, "state" | "setup" | "store" | "act" | "t">) {
  const [at, setAt] = useState(0);
  const [camera, onCamera] = useState<string | null>(state.cameras[0]?.name ?? null);
  const heading = useRef<HTMLHeadingElement>(null);
  const moved = useRef(false);
  // Before the step is painted: later it would take the focus from whoever types at once.
  useLayoutEffect(() => {
    if (moved.current) heading.current?.focus(); // whoever goes on by keyboard or hears the page begins at the new step's title
  }, [at]);
  const go = (step: number) => {
    moved.current = true;
    setAt(step);
  };
  const titles = [t.sourceTitle, t.goodTitle, t.wordsTitle, t.lookTitle, t.thresholdTitle];
  const Step = STEPS[at] as (typeof STEPS)[number];
  const startOver = () => {
    if (!confirm(t.startOverSure)) return;
    go(0);
    void act(() => store.ask("DELETE", "/v1/setup"));
  };
  return (
    <section class="card setup" aria-label={t.setUp}>
      <ol class="steps">
        {t.steps.map((name, i) => (
          <li key={name}>
            <button type="button" aria-current={i === at ? "step" : undefined} onClick={() => go(i)}>
              <span class="number">{i + 1}</span> {name}
            </button>
          </li>
        ))}
      </ol>
      <header>
        <h2 ref={heading} tabIndex={-1}>
          {titles[at]}
        </h2>
        <span class="tag">{t.step(at + 1, STEPS.length)}</span>
      </header>
      <Progress setup={setup} t={t} />
      {setup.fault !== null && (
        <p class="warning" role="alert">
          <strong>{t.faultTitle}:</strong> {setup.fault}
        </p>
      )}
      <Step {...{ state, setup, camera, onCamera, store, act, t }} />
      <footer class="moves">
        <button type="button" class="quiet" onClick={startOver}>
          {t.startOver}
        </button>
        <span class="hint">{t.none}</span>
        <span class="spacer" />
        <button type="button" disabled={at === 0} onClick={() => go(at - 1)}>
          {t.back}
        </button>
        {at < STEPS.length - 1 && (
          <button type="button" class="primary" onClick={() => go(at + 1)}>
            {t.next}
          </button>
        )}
      </footer>
    </section>
  );
}

function Progress({ setup: { work }, t }: { setup: SetupState; t: Texts }) {
  if (!work) return null;
  return (
    <div class="progress" role="status">
      <span>{t.work[work.what]}</span>
      <progress max={work.of} value={work.done} aria-label={t.work[work.what]} />
      <span>
        {work.done} / {work.of}
        {work.secondsLeft !== null && work.secondsLeft > 0 && ` · ${t.secondsLeft(work.secondsLeft)}`}
      </span>
    </div>
  );
}
