"""LAMB at batch 32,768 through the gradient cache, on one GPU; small and on the processor where there is none.

    python test/bench/torch_gpu_lamb.py [--micro 512] [--rate 0.01]

Writes lamb.json into the folder that OUT names: the gradient of 2,048 pairs against the whole batch's, memory at 2,048, 8,192
and 32,768, and a hundred steps with what the judge of steps says of each.
"""
import argparse
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from torch_gpu import DEVICE, GPU, OPTIMIZER, OUT, build, config_of, describe, fused, optimizer_of, parameter_groups, say, tidy, wait, write

# Found once torch_gpu has put the package on the path.
from kenpin_torch.gradient_cache import cached_backward
from kenpin_torch.job import Job
from kenpin_torch.ranks import Ranks
from kenpin_torch.stability import Stability
from kenpin_torch.stages import Train
from kenpin_torch.steps import cosine_rate


def bench_lamb(args):
    """Gradients of the cache against the whole batch's; memory by batch; a hundred steps at the largest batch."""
    result = {**describe(), "micro": args.micro}
    small, big = (2048, 32_768) if GPU else (64, 256)
    stage, batch = cached_stage("kenpin-s-8", small, "float32", "sdpa")
    fused.compile_parts(False)
    result["gradients"] = compare_gradients(stage, batch, min(args.micro, small // 8))
    say(gradients=result["gradients"])
    stage = batch = None
    tidy()
    fused.compile_parts(GPU)
    result["memory"] = [memory_of("EVA02-B-16", size, args.micro) for size in (small, 8192, big)] if GPU else [memory_of("kenpin-xs-8", small, 16)]
    write("lamb", result)
    result["steps"] = hundred_steps("kenpin-s-8" if GPU else "kenpin-xs-8", big, args)
    write("lamb", result)


def cached_stage(name, size, precision, attention):
    config = config_of(name)
    torch.manual_seed(1)
    OUT.mkdir(parents=True, exist_ok=True)
    weights = OUT / "start.safetensors"
    save_file({key: value.contiguous() for key, value in build(config).state_dict().items()}, weights)
    recipe = {"patchLoss": 0, "loss": "clip", "optimizer": OPTIMIZER}
    job = Job("train", config, str(weights), "", recipe, {}, precision=precision, attention=attention, compile=GPU and precision == "bf16")
    stage = Train(job, Ranks()).to(DEVICE)
    stage.after_load()
    weights.unlink()
    return stage, synthetic_pairs(config, size)


def synthetic_pairs(config, size):
    """Pairs that can be learned: a picture is a coarse pattern that only its caption goes with."""
    side, text = config["image"]["size"], config["text"]
    generator = torch.Generator(device=DEVICE).manual_seed(2)
    pixels = torch.empty(size, 3, side, side, device=DEVICE, dtype=torch.bfloat16)
    for start in range(0, size, 1024):
        coarse = torch.randn(min(1024, size - start), 3, 8, 8, device=DEVICE, generator=generator)
        pixels[start : start + 1024] = F.interpolate(coarse, size=(side, side), mode="nearest").bfloat16()
    end = 512 + text["merges"] + 1
    ids = torch.randint(1, end, (size, text["context"]), device=DEVICE, generator=generator)
    ids[:, min(12, text["context"] - 1)] = end
    return {"pixel_values": pixels, "ids": ids, "size": size}


def compare_gradients(stage, batch, micro):
    stage.zero_grad()
    whole, _ = stage(batch)
    whole.backward()
    wanted = {name: value.grad.clone() for name, value in stage.named() if value.grad is not None}
    stage.zero_grad()
    cached, _ = cached_backward(stage, stage, batch, micro)
    rows = [((value.grad - wanted[name]).norm() / wanted[name].norm().clamp(min=1e-12)).item() for name, value in stage.named() if name in wanted]
    return {"batch": batch["size"], "micro": micro, "loss": whole.item(), "lossDifference": abs(whole.item() - cached.item()), "largestRelativeDifference": max(rows)}


def memory_of(name, size, micro):
    stage, batch = cached_stage(name, size, "bf16", "sdpa")
    input_bytes = batch["pixel_values"].nbytes
    seconds = []
    for _ in range(2):
        wait()
        started = time.perf_counter()
        if GPU:
            torch.cuda.reset_peak_memory_stats()
        cached_backward(stage, stage, batch, micro)
        wait()
        stage.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() if GPU else 0
    row = {"model": name, "batch": size, "peakGb": round(peak / 1e9, 2), "withoutInputGb": round((peak - input_bytes) / 1e9, 2), "imagesPerSecond": round(size / seconds[-1], 1)}
    say(memory=row)
    stage = batch = None
    tidy()
    return row


def hundred_steps(name, size, args):
    stage, batch = cached_stage(name, size, "bf16", "sdpa")
    recipe = {**OPTIMIZER, "rates": {"image": args.rate, "text": args.rate / 10, "other": args.rate}, "plainShare": 0.1, "layerDecay": {"image": 1, "text": 1}}
    kind, options = optimizer_of(recipe)
    optimizer = kind(parameter_groups(stage.named(), stage.job.config, recipe), **options)
    judge = Stability({"window": 64, "lossDeviations": 10, "normFactor": 20, "skipsBeforeRollback": 5, "rateAfterRollback": 0.5, "maxRollbacks": 3})
    losses, norms, verdicts, started = [], [], [], time.time()
    for step in range(100 if GPU else 4):
        loss, _ = cached_backward(stage, stage, batch, args.micro * 4)
        norm = torch.nn.utils.clip_grad_norm_([value for _, value in stage.named()], 5.0)
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * cosine_rate(step, 10, 100, 0.02)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(round(loss.item(), 4))
        norms.append(round(norm.item(), 4))
        verdicts.append(judge.judge(step + 1, losses[-1], norms[-1])[0])
    peak = torch.cuda.max_memory_allocated() if GPU else 0
    out = {"model": name, "batch": size, "rate": args.rate, "spikes": sum(verdict != "accept" for verdict in verdicts), "losses": losses, "norms": norms,
           "peakGb": round(peak / 1e9, 2), "secondsPerStep": round((time.time() - started) / len(losses), 3)}
    say(steps={key: value for key, value in out.items() if key not in ("losses", "norms")}, first=losses[0], last=losses[-1])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--micro", type=int, default=512, help="pictures embedded at a time")
    parser.add_argument("--rate", type=float, default=0.01, help="the image tower's")
    bench_lamb(parser.parse_args())


if __name__ == "__main__":
    main()
