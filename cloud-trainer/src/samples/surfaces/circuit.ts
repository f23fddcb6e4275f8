/** A circuit board: traces along a grid and pads at its nodes, the same for every board of a product; a trace may be open or bridged. */
import type { Random } from "@kenpin/stats";
import { fieldOf, latticeNoise, mix, smooth, standardise, step, whiteNoise } from "../field.ts";
import { material } from "./material.ts";

/** Nodes after which the layout repeats. */
const PERIOD = 16;
type Circuit = { pitch: number; trace: number; pad: number; layout: Float32Array; rim: number; left: number; top: number };

export const circuit = material<Circuit>({
  name: "circuit",
  words: ["a circuit board", "a printed circuit"],
  draw: (random) => ({
    pitch: random.between(8, 18),
    trace: random.between(0.8, 2),
    pad: random.between(1.5, 3.5),
    // Three numbers a node: trace to the right, trace downwards, pad; below a half means there is one.
    layout: Float32Array.from({ length: PERIOD * PERIOD * 3 }, random.next),
    rim: random.between(0.2, 1.2),
    left: 0,
    top: 0,
  }),
  pose: (board, random) => ({ ...board, left: random.between(-4, 4), top: random.between(-4, 4) }),
  render: ({ pitch, trace, pad, layout, rim, left, top }, side, random) => {
    const floor = standardise(mix(latticeNoise(side, { cellX: 4, cellY: 4 }, random), whiteNoise(side, random), 0.4));
    const coat = new Float32Array(side * side);
    const has = (column: number, row: number, kind: number) => (layout[nodeAt(column, row) + kind] as number) < 0.5;
    const height = fieldOf(side, (x, y) => {
      const [gx, gy] = [(x - left) / pitch, (y - top) / pitch];
      const [column, row] = [Math.round(gx), Math.round(gy)];
      const [u, v] = [(gx - column) * pitch, (gy - row) * pitch];
      let away = has(column, row, 2) ? Math.hypot(u, v) - pad : 99;
      if (u >= 0 ? has(column, row, 0) : has(column - 1, row, 0)) away = Math.min(away, Math.abs(v) - trace);
      if (v >= 0 ? has(column, row, 1) : has(column, row - 1, 1)) away = Math.min(away, Math.abs(u) - trace);
      const i = y * side + x;
      coat[i] = step(-away);
      return 0.6 * (floor[i] as number) + rim * Math.exp(-Math.abs(away) / 1.2);
    });
    return { height, coat };
  },
  flaws: [
    traceFlaw("open trace", ["a broken trace", "an open trace"], 0.9),
    traceFlaw("bridge", ["a bridge between traces", "a short circuit"], 0.1),
  ],
});

function nodeAt(column: number, row: number): number {
  const wrap = (value: number) => ((value % PERIOD) + PERIOD) % PERIOD;
  return (wrap(row) * PERIOD + wrap(column)) * 3;
}

/** At a place where there is a trace (or none) it is taken away (or put). */
function traceFlaw(name: string, words: string[], becomes: number) {
  const spoil = (board: Circuit, side: number, random: Random) => {
    const layout = Float32Array.from(board.layout);
    const within = () => Math.round(random.between(0.2 * side, 0.8 * side) / board.pitch);
    let [column, row, kind] = [0, 0, 0];
    for (let tries = 0; tries < 20; tries++) {
      [column, row, kind] = [within(), within(), random.int(2)];
      if ((layout[nodeAt(column, row) + kind] as number) < 0.5 === becomes > 0.5) break;
    }
    layout[nodeAt(column, row) + kind] = becomes;
    const [cx, cy] = [
      (column + (kind === 0 ? 0.5 : 0)) * board.pitch + board.left,
      (row + (kind === 1 ? 0.5 : 0)) * board.pitch + board.top,
    ];
    const [halfX, halfY] = kind === 0 ? [board.pitch * 0.45, board.trace + 1.5] : [board.trace + 1.5, board.pitch * 0.45];
    const mask = fieldOf(side, (x, y) => smooth(Math.min(halfX - Math.abs(x - cx), halfY - Math.abs(y - cy))));
    return { constants: { ...board, layout }, mask };
  };
  return { name, words, adjectives: [], spoil };
}
