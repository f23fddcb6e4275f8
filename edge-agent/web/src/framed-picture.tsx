/** A picture with its heat map and boxes over it; says so where the agent holds it no more or a browser cannot show it. */
import { HeatMap, Regions } from "@kenpin/page/web";
import type { Region } from "@kenpin/schema";
import { useEffect, useState } from "preact/hooks";
import type { Texts } from "./texts.ts";

type Props = {
  sha256: string;
  alt: string;
  /** null draws no map; another value asks for it anew. */
  map: string | number | null;
  opacity?: number;
  size?: { width: number; height: number } | undefined;
  regions?: readonly Region[];
  t: Texts;
};

export function FramedPicture({ sha256, alt, map, opacity = 0.65, size, regions = [], t }: Props) {
  const [missing, setMissing] = useState(false);
  useEffect(() => setMissing(false), [sha256]);
  const ratio = size && size.width > 0 && size.height > 0 ? size.width / size.height : 4 / 3;
  return (
    <figure class="picture" style={{ aspectRatio: String(ratio) }}>
      {missing ? <figcaption>{t.pictureGone}</figcaption> : <img src={`/v1/frames/${sha256}`} alt={alt} onError={() => setMissing(true)} />}
      {!missing && map !== null && <HeatMap source={`/v1/frames/${sha256}/map?for=${map}`} opacity={opacity} t={t} />}
      {!missing && size && <Regions size={size} regions={regions} />}
    </figure>
  );
}
