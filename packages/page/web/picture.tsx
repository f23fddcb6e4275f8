/** What lies over a picture: the heat map that says where it looks unusual, and boxes around what is conspicuous. */
import type { Region } from "@kenpin/schema";
import { useEffect, useState } from "preact/hooks";
import type { Words } from "./language.ts";

type MapProps = { source: string; opacity: number; t: Words; again?: unknown };

/** A map may come after its picture: one that was missing is tried again when `again` changes. */
export function HeatMap({ source, opacity, t, again }: MapProps) {
  const [missing, setMissing] = useState(false);
  useEffect(() => setMissing(false), [source, again]);
  if (missing) return null;
  return (
    <img class="heat" src={source} alt={t.mapAlt} style={{ opacity: String(opacity) }} loading="lazy" onError={() => setMissing(true)} />
  );
}

/** In pixels of a picture of this size. */
export function Regions({ size, regions }: { size: { width: number; height: number }; regions: readonly Region[] }) {
  if (size.width === 0 || regions.length === 0) return null;
  return (
    <svg viewBox={`0 0 ${size.width} ${size.height}`} aria-hidden="true">
      {regions.map(({ x, y, width, height }) => (
        <rect key={`${x}/${y}`} x={x} y={y} width={width} height={height} vector-effect="non-scaling-stroke" />
      ))}
    </svg>
  );
}
