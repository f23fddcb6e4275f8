/**
 * What runs a model, whatever it is written in: opens a file on one provider, then turns named tensors into named tensors.
 * Scores, maps and banks are made of its answers in one place, so that every runtime gives the same ones.
 * Providers are probed in order: one that is not there, cannot open the model or fails at its first run is passed over with the
 * reason, and the one that really ran is known.
 */
import { KenpinError, type Provider } from "@kenpin/schema";
import type { Opening, Progress } from "./protocol.ts";

export type Feed = { data: Float32Array; dims: number[] } | { data: BigInt64Array; dims: number[] };
/** Each input's smallest, usual and largest shape, for engines that are built for shapes. */
export type Shapes = Record<string, { least: number[]; usual: number[]; most: number[] }>;
/** Each provider's share of the time that the model's nodes took. */
export type RanOn = Partial<Record<Provider, number>>;
export type OpenOptions = Omit<Opening, "providers"> & { shapes?: Shapes; profile?: boolean };
export type Opened = {
  /** All outputs, or those asked for. */
  run: (feeds: Record<string, Feed>, outputs?: string[]) => Promise<Record<string, Float32Array>>;
  /** Empty unless it was opened with `profile`. */
  release: () => Promise<RanOn>;
};
export type Runtime = {
  kind: "node" | "python";
  version: string;
  /** What its build lists, whether or not the machine has it. */
  offered: readonly Provider[];
  /** Its own process, where it is none of ours. */
  pid: number | null;
  /** A model file's bytes, or its path where weights may lie in a file beside it. Throws what the provider says. */
  open: (file: Uint8Array | string, provider: Provider, options: OpenOptions) => Promise<Opened>;
};
/** `endedIt`: trying it took the whole process down. */
export type PassedOver = { provider: Provider; why: string; endedIt?: boolean | undefined };
export type Model = Opened & { provider: Provider; passedOver: PassedOver[] };
export type ModelFile = {
  file: Uint8Array | string;
  /** Its name, for messages. */
  what: string;
  opening: Opening;
  shapes?: Shapes;
  profile?: boolean;
  /** Proves the provider before it counts. */
  firstRun?: Record<string, Feed>;
  /** Told before each provider is tried, since a try may block for minutes. */
  onStep?: ((progress: Progress) => void) | undefined;
};

/** An engine for a large model on a small device; a first use of a GPU; and anything else. */
const MAY_TAKE_MS: Record<Provider, number> = { tensorrt: 3_600_000, cuda: 600_000, webgpu: 300_000, cpu: 600_000 };

const TOO_NEW = /Unsupported model IR version|Opset \d+ is under development/;
/** Said of the runtime itself, which no other provider could mend. */
const GONE = new Set(["runtime-failed", "inspector-garbage"]);

export async function openModel(runtime: Runtime, { file, what, opening, firstRun, onStep, ...rest }: ModelFile): Promise<Model> {
  const { providers = ["cpu"], ...options } = opening;
  const passedOver: PassedOver[] = [];
  let cause: unknown;
  for (const provider of providers) {
    if (!runtime.offered.includes(provider)) {
      passedOver.push({ provider, why: `not in this build of onnxruntime (${runtime.version})` });
      continue;
    }
    onStep?.({ step: "open", provider, mayTakeMs: MAY_TAKE_MS[provider] });
    try {
      return { ...(await proven(runtime, { file, provider, options: { ...options, ...rest }, firstRun })), provider, passedOver };
    } catch (error) {
      if (error instanceof KenpinError && GONE.has(error.code)) throw error;
      cause = error;
      passedOver.push({ provider, why: faultLine(error) });
    }
  }
  const last = passedOver.at(-1);
  if (last && TOO_NEW.test(last.why)) {
    const fault = `${what} was made for a newer onnxruntime than this one (${runtime.version})`;
    throw new KenpinError("runtime-too-old", `${fault}; install a newer one, or a bundle in float, which older ones open`, { cause });
  }
  if (last?.provider === "cpu") {
    throw new KenpinError("model-unreadable", `${what} is no model this runtime can open (${last.why}); install the bundle again`, {
      cause,
    });
  }
  const why = passedOver.map((one) => `${one.provider}: ${one.why}`).join("; ");
  throw new KenpinError("no-provider", `none of the providers asked for can run ${what} (${why}); add "cpu" to inspector.providers`);
}

type Trial = { file: Uint8Array | string; provider: Provider; options: OpenOptions; firstRun: Record<string, Feed> | undefined };

async function proven(runtime: Runtime, { file, provider, options, firstRun }: Trial): Promise<Opened> {
  const opened = await runtime.open(file, provider, options);
  try {
    if (firstRun) await opened.run(firstRun);
    return opened;
  } catch (error) {
    await opened.release();
    throw error;
  }
}

/** The runtime's message in one line, without the place in its sources that it begins with. */
function faultLine(error: unknown): string {
  const line = (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
  const said = line.replace(/^.* was false\. /, "").replace(/^.*\/onnxruntime_src\/.*\) (?=[A-Z])/, "");
  return said.slice(0, 300);
}
