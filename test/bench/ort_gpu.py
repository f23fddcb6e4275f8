"""kenpin's image towers through ONNX Runtime on a GPU: what really ran them, how near they stay to float32, how long they take.

    python test/bench/ort_gpu.py --reference float/vision.onnx --providers CUDAExecutionProvider fp16/vision.onnx qdq/vision.onnx

Prints one JSON line a model and batch: {model, batch, providers, nodes, cosine, msPerTile, memoryMb, error}. `nodes` counts the
graph's nodes by the provider that ran them, read from the runtime's own profile: a provider that is registered need not have run.
`cosine` is the mean over tiles against the reference on the CPU; `memoryMb` is what the process holds on the GPU (NVML; without
one its own resident memory), of which the runtime's arena may take --memory-gb. Each model has a process of its own.
Needs: pip install onnxruntime-gpu numpy (1.31: CUDA 13, cuDNN 9; TensorRT 10 for its provider); nvidia-ml-py for GPU memory.
"""
import argparse
import collections
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time

import numpy as np
import onnxruntime as ort

WARM_UP = 5


def provider_options(name, memory_bytes):
    if name == "CUDAExecutionProvider":
        return {"gpu_mem_limit": memory_bytes, "arena_extend_strategy": "kSameAsRequested"}
    if name == "TensorrtExecutionProvider":
        return {"trt_max_workspace_size": memory_bytes, "trt_fp16_enable": True, "trt_int8_enable": True}
    return {}


def open_session(model, providers, memory_bytes, profile=None):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    wanted = [(name, provider_options(name, memory_bytes)) for name in providers]
    return ort.InferenceSession(model, options, providers=wanted)


def tiles(session, count, file):
    side = session.get_inputs()[0].shape[2]
    if file:
        return np.fromfile(file, np.float32).reshape(-1, 3, side, side)[:count]
    # Blocks of colour under fine noise: neither flat nor white.
    random = np.random.default_rng(0)
    coarse = random.standard_normal((count, 3, side // 8 + 1, side // 8 + 1)).repeat(8, 2).repeat(8, 3)[:, :, :side, :side]
    return (coarse + 0.3 * random.standard_normal((count, 3, side, side))).astype(np.float32)


def embed(session, pixels):
    return session.run(["image_embeds"], {"pixel_values": pixels})[0].reshape(len(pixels), -1).astype(np.float64)


def nodes_by_provider(model, providers, memory_bytes, pixels):
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(model, providers, memory_bytes, os.path.join(folder, "profile"))
        embed(session, pixels[:1])
        with open(session.end_profiling()) as file:
            events = json.load(file)
    return dict(collections.Counter(e["args"]["provider"] for e in events if e.get("cat") == "Node" and "provider" in e.get("args", {})))


def gpu_memory_mb():
    """Of this process, or None where no NVML answers."""
    try:
        import pynvml
        pynvml.nvmlInit()
        mine = [
            p.usedGpuMemory
            for i in range(pynvml.nvmlDeviceGetCount())
            for p in pynvml.nvmlDeviceGetComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByIndex(i))
            if p.pid == os.getpid() and p.usedGpuMemory
        ]
        return sum(mine) / 2**20 if mine else None
    except Exception:
        return None


def cosine(a, b):
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def measure(asked):
    model, wanted, options = asked
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    memory_bytes = int(options.memory_gb * 2**30)
    pixels = tiles(open_session(options.reference, ["CPUExecutionProvider"], memory_bytes), max(options.batches), options.pixels)
    expected = embed(open_session(options.reference, ["CPUExecutionProvider"], memory_bytes), pixels)
    session = open_session(model, wanted, memory_bytes)
    near = cosine(embed(session, pixels), expected)
    lines = []
    for batch in options.batches:
        some = pixels[:batch]
        times = []
        for turn in range(-WARM_UP, options.rounds):
            start = time.perf_counter()
            session.run(["image_embeds"], {"pixel_values": some})
            if turn >= 0:
                times.append((time.perf_counter() - start) * 1e3 / len(some))
        held = gpu_memory_mb()
        lines.append({
            "model": model, "batch": len(some), "runtime": ort.__version__, "providers": session.get_providers(), "cosine": round(near, 6),
            "msPerTile": round(statistics.median(times), 3), "memoryMb": round(held or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "memoryOf": "gpu" if held else "process",
        })
    nodes = nodes_by_provider(model, wanted, memory_bytes, pixels)
    return [{**line, "nodes": nodes} for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--reference", required=True, help="the float32 image tower, run on the CPU")
    parser.add_argument("--providers", default="CUDAExecutionProvider,CPUExecutionProvider", help="in order; the CPU is always last")
    parser.add_argument("--batches", type=lambda text: [int(n) for n in text.split(",")], default=[1, 16])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--memory-gb", type=float, default=8)
    parser.add_argument("--pixels", help="file of float32 [n, 3, S, S]; without one they are drawn")
    options = parser.parse_args()
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    wanted = [name for name in options.providers.split(",") if name != "CPUExecutionProvider"]
    missing = [name for name in wanted if name not in ort.get_available_providers()]
    if missing:
        raise SystemExit(f"this onnxruntime {ort.__version__} has {', '.join(ort.get_available_providers())}, not {', '.join(missing)}")
    spawn = multiprocessing.get_context("spawn")
    failed = False
    for model in options.models:
        with spawn.Pool(1) as pool:
            try:
                lines = pool.apply(measure, ((model, [*wanted, "CPUExecutionProvider"], options),))
            except Exception as error:
                lines, failed = [{"model": model, "error": str(error).splitlines()[0]}], True
        for line in lines:
            print(json.dumps(line), flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
