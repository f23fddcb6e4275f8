/**
 * The memory bank's question as a graph: how far is each token from the nearest one of the bank?
 * In: `tokens` [N, T] and `bank` [M, T], rows of length 1. Out: `distance` [N] = 1 − the largest cosine.
 */
import { Graph } from "./graph.ts";

export function nearestGraph(dim: number): Uint8Array {
  const graph = new Graph();
  const tokens = graph.input("tokens", "float", ["n", dim]);
  const bank = graph.input("bank", "float", ["m", dim]);
  const cosine = graph.op("ReduceMax", [graph.op("MatMul", [tokens, graph.transpose(bank, [1, 0])])], { axes: [1], keepdims: 0 });
  graph.output("distance", graph.op("Sub", [graph.floats([1], []), cosine]), ["n"]);
  return graph.finish("nearest").encode(new Map());
}
