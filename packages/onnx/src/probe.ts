/**
 * A product that saturates on processors that add pairs of unsigned·signed products in 16 bits: all codes are the largest.
 * In: `x` [1, 64] float, all ones. Out: `y` [1, 16]; exact where 255·127·64 / (255·127) = 64 comes out.
 */
import { Graph } from "./graph.ts";

const [ROWS, COLUMNS] = [64, 16];

export function productProbe(): Uint8Array {
  const graph = new Graph();
  const x = graph.input("x", "float", [1, ROWS]);
  const codes = graph.op("QuantizeLinear", [x, graph.floats([1 / 255], []), graph.zeroPoint("uint8", 0)]);
  const weights = { bytes: ROWS * COLUMNS, from: [], make: () => new Uint8Array(ROWS * COLUMNS).fill(127) };
  const inputs = [codes, graph.made("int8", [ROWS, COLUMNS], weights), graph.floats([1 / 255], []), graph.floats([1 / 127], [])];
  const y = graph.op("com.microsoft.MatMulIntegerToFloat", [...inputs, graph.zeroPoint("uint8", 0)]);
  graph.output("y", y, [1, COLUMNS]);
  return graph.finish("product-probe").encode(new Map());
}
