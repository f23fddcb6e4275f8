/**
 * Draws an anomaly map as a PNG the size of the frame, clear where all is calm, from yellow to red where it is not, so a
 * page can lay it over the picture.
 */
import sharp from "sharp";
import type { AnomalyMap } from "./anomaly-map.ts";

/** `low` and `high` are the map values drawn clear and full red. */
export async function drawHeatMap(
  map: AnomalyMap,
  { width, height, low, high }: { width: number; height: number; low: number; high: number },
): Promise<Uint8Array> {
  const pixels = Buffer.alloc(map.values.length * 4);
  for (const [i, value] of map.values.entries()) {
    const heat = Math.min(1, Math.max(0, (value - low) / Math.max(high - low, 1e-6)));
    pixels.set([255, Math.round(220 * (1 - heat)), 0, Math.round(200 * heat)], i * 4);
  }
  const raw = { width: map.columns, height: map.rows, channels: 4 as const };
  // The last column and row may reach past the frame: they are drawn in their own size and cut off with it.
  const drawn = (cells: number, frame: number, tiled: number) => Math.max(frame, Math.round((cells * map.cellPx * frame) / tiled));
  const enlarged = sharp(pixels, { raw })
    .resize(drawn(map.columns, width, map.width), drawn(map.rows, height, map.height), { fit: "fill", kernel: "cubic" })
    .extract({ left: 0, top: 0, width, height });
  return new Uint8Array(await enlarged.png({ compressionLevel: 6 }).toBuffer());
}
