/**
 * An interpreter whose onnxruntime claims a GPU, on a machine that has none: the real one in KENPIN_PYTHON behind a module that
 * lists CUDA and then behaves as a broken, absent or slow GPU does. All else, and all that runs on the CPU, is the real one's.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** `slow` takes so long to open as building an engine would, and then runs on the CPU. */
export type GpuFault = "crash" | "away" | "first-run" | "slow";

const MODULE = `
import importlib.util, os, signal, sys, time

here = os.path.dirname(os.path.abspath(__file__))
sys.path = [place for place in sys.path if os.path.abspath(place) != here]
del sys.modules["onnxruntime"]
import onnxruntime as real

CUDA = "CUDAExecutionProvider"
fault = os.environ["GPU_FAULT"]

class InferenceSession(real.InferenceSession):
    def __init__(self, model, options=None, providers=()):
        self.gpu = bool(providers) and providers[0] != "CPUExecutionProvider"
        if self.gpu and fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.gpu and fault == "away":
            os.write(2, b"[E:onnxruntime:Default] Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: cannot open shared object file\\n")
        if self.gpu and fault == "slow":
            time.sleep(float(os.environ["GPU_SECONDS"]))
        super().__init__(model, options, providers=["CPUExecutionProvider"])

    def get_providers(self):
        return [CUDA, *super().get_providers()] if self.gpu and fault != "away" else super().get_providers()

    def run(self, *args):
        if self.gpu and fault == "first-run":
            raise Fail("no kernel image is available for execution on the device")
        return super().run(*args)

class Fail(RuntimeError):
    pass

real.InferenceSession = InferenceSession
real.get_available_providers = lambda: [CUDA, "CPUExecutionProvider"]
sys.modules["onnxruntime"] = real
`;

export async function pythonWithGpu(folder: string, fault: GpuFault, seconds = 0): Promise<string> {
  const modules = join(folder, "gpu");
  await mkdir(modules, { recursive: true });
  await writeFile(join(modules, "onnxruntime.py"), MODULE);
  const file = join(folder, `python-${fault}`);
  const environment = `PYTHONPATH="${modules}" GPU_FAULT=${fault} GPU_SECONDS=${seconds}`;
  await writeFile(file, `#!/bin/sh\n${environment} exec "${process.env["KENPIN_PYTHON"]}" "$@"\n`, { mode: 0o755 });
  return file;
}
