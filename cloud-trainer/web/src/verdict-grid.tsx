/** The latest verdicts as tiles: a thumbnail where a picture was sent, else a plain tile that says it stayed on the device. */
import { Shape } from "@kenpin/page/web";
import type { SampleRow, VerdictRow } from "@kenpin/schema";
import { useEffect, useRef } from "preact/hooks";
import type { Texts } from "./texts.ts";

type Props = {
  verdicts: VerdictRow[];
  samples: Map<string, SampleRow>;
  shown: string | null;
  onSelect: (id: string) => void;
  t: Texts;
};

export function VerdictGrid({ verdicts, samples, shown, onSelect, t }: Props) {
  return (
    <section class="recent card" aria-label={t.recent}>
      <header>
        <h2>{t.recent}</h2>
      </header>
      <ul class="tiles">
        {verdicts.map((row) => {
          const { id } = row.verdict;
          return <Tile key={id} row={row} sample={samples.get(id)} current={id === shown} onSelect={onSelect} t={t} />;
        })}
      </ul>
    </section>
  );
}

type TileProps = { row: VerdictRow; sample: SampleRow | undefined; current: boolean; onSelect: (id: string) => void; t: Texts };

function Tile({ row: { verdict }, sample, current, onSelect, t }: TileProps) {
  const { id, outcome, score, camera } = verdict;
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (current) button.current?.scrollIntoView({ block: "nearest" });
  }, [current]);
  return (
    <li>
      <button
        ref={button}
        type="button"
        class={`tile ${outcome}`}
        aria-current={current}
        title={`${t[outcome]} · ${camera}`}
        data-verdict={id}
        onClick={() => onSelect(id)}
      >
        <span class="thumb">
          {sample?.stored ? (
            <img src={`/v1/blobs/${sample.sample.frame.sha256}`} alt={t.partAlt} loading="lazy" />
          ) : (
            <span class="stayed">{sample ? t.onItsWay : t.stayed}</span>
          )}
          {sample?.label && <span class={`badge ${sample.label.label}`}>{t[sample.label.label]}</span>}
        </span>
        <span class="caption">
          <Shape mark={outcome} />
          <span class="word">{t[outcome]}</span>
          <span class="value">{score === null ? "–" : score.toFixed(2)}</span>
        </span>
      </button>
    </li>
  );
}
