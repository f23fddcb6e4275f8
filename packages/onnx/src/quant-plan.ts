/**
 * What a graph in fewer bits needs to be told: the scheme, the form of its weights, and for each place (a tensor that
 * products read) its scale. Activations are per tensor, weights per output channel.
 *
 * "int8-dynamic" measures each activation's range as it runs, "int8-static" knows it from calibration; both are written
 * for ONNX Runtime's CPU kernels, unsigned activations times signed weights. "qdq" is for TensorRT: signed int8, zero point
 * 0, standard operators only. "fp16" computes products and attention in half precision, norms and sums in float32.
 */
export type Scheme = "int8-dynamic" | "int8-static" | "qdq" | "fp16";

/**
 * How weights are stored. Processors without VNNI add pairs of unsigned·signed products in 16 bits and saturate: 255·127·2
 * is over 32767. With 7 bits, 255·63·2 fits.
 */
export type WeightForm = { type: "int8" | "uint8"; bits: 8 | 7 };

export type PlacePlan = {
  /** Divides the place's channels and multiplies the rows of the products that read it (SmoothQuant, arXiv 2211.10438). */
  smooth: Float32Array | null;
  /** value = scale · (code − zero). */
  scale: number;
  zero: number;
  /** In an int8-static graph: measured as it runs all the same, where one range for all inputs costs too much. */
  dynamic?: boolean;
};

export type QuantPlan = {
  scheme: Scheme;
  weights: WeightForm;
  /** A place that is not in here stays in float. */
  places: ReadonlyMap<string, PlacePlan>;
  /** An embedding table is rounded row by row. */
  embeddings?: boolean;
};

export type PlaceName = { name: string; smoothable: boolean };

/** Asks a float graph for what calibration looks at, place by place: outputs `max:`, `min:` [n, C] and `some:` [n, t, C],
 * and `weight:` [C], the largest weight that each channel meets. */
export type Taps = { everyToken: number };
