/**
 * Connected regions of a mask: pixels that touch by a side or a corner (8 neighbours, as MVTec AD's evaluation has it).
 * In: a mask [height, width], anything but 0 belongs to a region. Out: for each pixel its region from 1 on, 0 outside, in the
 * order in which rows meet them; and each region's size in pixels.
 */
export function connectedRegions(mask: Uint8Array, width: number, height: number): { labels: Uint32Array; sizes: number[] } {
  const labels = new Uint32Array(mask.length);
  const sizes: number[] = [];
  const open = new Uint32Array(mask.length);
  for (let start = 0; start < mask.length; start++) {
    if (mask[start] === 0 || labels[start] !== 0) continue;
    const region = sizes.length + 1;
    let [waiting, size] = [1, 0];
    open[0] = start;
    labels[start] = region;
    while (waiting > 0) {
      const at = open[--waiting] as number;
      size++;
      const [x, y] = [at % width, Math.floor(at / width)];
      for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
        for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
          const next = row * width + column;
          if (mask[next] === 0 || labels[next] !== 0) continue;
          labels[next] = region;
          open[waiting++] = next;
        }
      }
    }
    sizes.push(size);
  }
  return { labels, sizes };
}
