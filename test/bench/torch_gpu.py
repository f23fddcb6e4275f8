"""The training step of kenpin_torch on one GPU, beside stock open_clip's at its best flags, on synthetic input.

    python test/bench/torch_gpu.py towers --model EVA02-B-16    {plain, sdpa, cudnn} × {patch dropout 0, .5} × {eager, compile}
    python test/bench/torch_gpu.py attention                    attention alone, 257 and 1,025 tokens

Writes <command>-….json into the folder that OUT names (here, without it). What is compared is timed in turns within one
run; a configuration's memory is the peak of what it allocates, without what the others hold.
"""
import argparse
import gc
import json
import os
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "cloud-trainer" / "torch"))

import open_clip  # noqa: E402
import torch  # noqa: E402
from open_clip.loss import ClipLoss  # noqa: E402
from timm.optim import create_optimizer_v2  # noqa: E402

from kenpin_torch import fused, towers  # noqa: E402
from kenpin_torch.cost import image_gflops, text_gflops  # noqa: E402
from kenpin_torch.groups import optimizer_of, parameter_groups  # noqa: E402
from kenpin_torch.model import build  # noqa: E402

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
GPU = DEVICE.type == "cuda"
OUT = pathlib.Path(os.environ.get("OUT", "."))
OPTIMIZER = {
    "name": "lamb", "beta1": 0.9, "beta2": 0.98, "eps": 1e-6, "weightDecay": 0.05, "plainShare": 1.0,
    "rates": {"image": 2e-4, "text": 2e-5, "other": 5e-4}, "layerDecay": {"image": 0.75, "text": 0.75},
}
BEGAN = time.time()


def config_of(name, depth=None):
    config = json.loads((ROOT / "packages/clip/models" / f"{name}.json").read_text())
    if depth:
        config["image"]["depth"] = config["text"]["layers"] = depth
    return config


def wait():
    if GPU:
        torch.cuda.synchronize()


def allocated():
    return torch.cuda.memory_allocated() if GPU else 0


def tidy():
    gc.collect()
    if GPU:
        torch.cuda.empty_cache()


def measure_products(side=8192 if GPU else 512):
    """TFLOP/s of a large bf16 product, the best of a few: what utilisation is a share of."""
    a, b = (torch.randn(side, side, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(5):
        wait()
        started = time.perf_counter()
        for _ in range(10):
            a @ b
        wait()
        best = max(best, 10 * 2 * side**3 / (time.perf_counter() - started) / 1e12)
    return best


def say(**line):
    print(json.dumps({"at": round(time.time() - BEGAN, 1), **line}), flush=True)


def describe():
    import timm

    card = torch.cuda.get_device_properties(0) if GPU else None
    return {
        "device": torch.cuda.get_device_name() if GPU else "cpu",
        "memoryGb": round(card.total_memory / 1e9, 1) if card else None,
        "torch": torch.__version__, "timm": timm.__version__, "openClip": open_clip.__version__,
        "cudnn": torch.backends.cudnn.version() if GPU else None,
    }


class Stock:
    """open_clip_train's step: create_model, autocast, torch.compile, ClipLoss with local loss, timm's Lamb."""

    def __init__(self, config, batch, *, dropout, mode, name=None, **_):
        if name and open_clip.get_model_config(name):
            model = open_clip.create_model(name, force_patch_dropout=dropout or None)
        else:
            model = build(config, patch_drop=dropout)
        self.model = model.to(DEVICE).train()
        self.optimizer = create_optimizer_v2(self.model, opt="lamb", lr=2e-4, weight_decay=0.05, betas=(0.9, 0.98), eps=1e-6)
        self.loss = ClipLoss(local_loss=True, gather_with_grad=True, cache_labels=True)
        self.run = torch.compile(self.model) if mode == "compile" else self.model

    def step(self, pixels, ids):
        self.optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16):
            images, texts, scale = self.run(pixels, ids)[:3]
            loss = self.loss(images, texts, scale)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, 4.6052)
        return loss


class Ours:
    def __init__(self, config, batch, *, dropout, mode, attention, **_):
        self.model = build(config).to(DEVICE).train()
        kind, options = optimizer_of(OPTIMIZER)
        self.optimizer = kind(parameter_groups(self.model.named_parameters(), config, OPTIMIZER), **options)
        self.loss = ClipLoss(cache_labels=True)
        self.patches, self.dropout, self.mode = (config["image"]["size"] // config["image"]["patch"]) ** 2, dropout, mode
        self.options = {"dtype": torch.bfloat16, "attention": attention}

    def step(self, pixels, ids):
        fused.compile_parts(self.mode == "compile")
        self.optimizer.zero_grad()
        kept = None
        if self.dropout:
            order = torch.rand(len(pixels), self.patches, device=DEVICE).argsort(-1)
            kept = order[:, : int(self.patches * (1 - self.dropout))].sort(-1).values
        images, _ = towers.embed_image(self.model.visual.trunk, pixels, patches=False, kept=kept, **self.options)
        texts = towers.embed_text(self.model.text, ids, **self.options)
        loss = self.loss(images, texts, self.model.logit_scale.exp())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, 4.6052)
        return loss


def run_steps(trainer, data, steps):
    wait()
    started = time.perf_counter()
    for _ in range(steps):
        loss = trainer.step(*data)
    wait()
    return (time.perf_counter() - started) / steps, loss.item()


def compare(rows, config, data, args, name):
    """Builds what is compared, then times all in turns. Out: one row each."""
    live = []
    for row in rows:
        held, started = allocated(), time.time()
        try:
            trainer = (Stock if row["engine"] == "stock" else Ours)(config, args.batch, name=name, **row)
            _, loss = run_steps(trainer, data, 2)
            trainer.optimizer.zero_grad(set_to_none=True)
            tidy()
            live.append({"row": row, "trainer": trainer, "held": allocated() - held, "times": [], "peak": 0})
            say(built=row, seconds=round(time.time() - started, 1), loss=round(loss, 4))
        except torch.OutOfMemoryError:
            trainer = None
            tidy()
            row["outOfMemory"] = True
            say(outOfMemory=row)
        except Exception as error:  # one configuration that this machine cannot run must not cost the others' figures
            trainer = None
            tidy()
            row["error"] = f"{type(error).__name__}: {str(error)[:400]}"
            say(failed=row)
    for _ in range(args.rounds):
        for one in live:
            others = sum(other["held"] for other in live if other is not one)
            if GPU:
                torch.cuda.reset_peak_memory_stats()
            seconds, _ = run_steps(one["trainer"], data, args.steps)
            one["trainer"].optimizer.zero_grad(set_to_none=True)
            one["times"].append(seconds)
            peak = torch.cuda.max_memory_allocated() if GPU else 0
            one["peak"] = max(one["peak"], peak - others)
    for one in live:
        row = one["row"]
        seconds = sorted(one["times"])[len(one["times"]) // 2]
        tokens = 1 - row["dropout"]
        gflops = 3 * (image_gflops(config, tokens) + text_gflops(config))
        tflops = gflops * args.batch / seconds / 1e3
        row.update(
            imagesPerSecond=round(args.batch / seconds, 1), secondsPerStep=[round(value, 4) for value in one["times"]],
            peakGb=round(one["peak"] / 1e9, 2), modelTflops=round(tflops, 1), utilisation=round(tflops / args.products, 4),
        )
        say(measured=row)
        if args.profile and row["mode"] == "compile" and row.get("attention", "sdpa") in ("sdpa", "cudnn"):
            row["kernels"] = profile(one["trainer"], data)
    for one in live:
        one.clear()
    tidy()
    return rows


def profile(trainer, data):
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with record(activities=[ProfilerActivity.CUDA if GPU else ProfilerActivity.CPU]) as seen:
        run_steps(trainer, data, 1)
    events = sorted(seen.key_averages(), key=lambda event: -getattr(event, "self_device_time_total", 0))
    return [{"name": event.key[:110], "ms": round(event.self_device_time_total / 1e3, 2), "calls": event.count} for event in events[:40]]


def bench_towers(args):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    config = config_of(args.model, args.depth)
    name = None if args.depth else args.model
    total = torch.cuda.get_device_properties(0).total_memory / 1e9 if GPU else 0
    # GB a picture that stock needs, compiled, and what three models' weights and moments hold: the batch that stock just fits
    each, held = (0.285, 20) if args.model.startswith("EVA02-L") else (0.0908, 8)
    args.batch = args.batch or min(1024, int((total * 0.92 - held) / each) // 64 * 64)
    args.products = measure_products()
    side = config["image"]["size"]
    pixels = torch.randn(args.batch, 3, side, side, device=DEVICE)
    vocabulary, context = 512 + config["text"]["merges"] + 2, config["text"]["context"]
    ids = torch.randint(1, vocabulary - 1, (args.batch, context), device=DEVICE)
    ids[:, -1] = vocabulary - 1
    result = {**describe(), "model": args.model, "batch": args.batch, "productTflops": round(args.products, 1), "rows": []}
    say(**{key: value for key, value in result.items() if key != "rows"})
    groups = []
    for dropout in (0.0, 0.5):
        groups.append([
            {"engine": "stock", "mode": "compile", "dropout": dropout},
            {"engine": "kenpin", "mode": "compile", "attention": "sdpa", "dropout": dropout},
            {"engine": "kenpin", "mode": "compile", "attention": "cudnn", "dropout": dropout},
        ])
    for dropout in (0.0, 0.5):
        groups.append([{"engine": "kenpin", "mode": "compile", "attention": "plain", "dropout": dropout}])
        groups.append([{"engine": "kenpin", "mode": "eager", "attention": "sdpa", "dropout": dropout}])
        groups.append([{"engine": "kenpin", "mode": "eager", "attention": "plain", "dropout": dropout}])
        groups.append([{"engine": "stock", "mode": "eager", "dropout": dropout}])
    if args.short:
        groups = [
            [{"engine": "stock", "mode": "compile", "dropout": 0.0}, {"engine": "kenpin", "mode": "compile", "attention": "sdpa", "dropout": 0.0}],
            [{"engine": "kenpin", "mode": "compile", "attention": "sdpa", "dropout": 0.5}],
        ]
    for rows in groups:
        if time.time() - BEGAN > args.seconds:
            say(leftOut=rows)
            continue
        result["rows"] += compare(rows, config, (pixels, ids), args, name)
        write(f"towers-{args.model}", result)


def bench_attention(args):
    rows = []
    for tokens, batch in ((257, 256), (1025, 48)) if GPU else ((17, 2), (65, 1)):
        qkv = torch.randn(3, batch, tokens, 16, 64, device=DEVICE, dtype=torch.bfloat16, requires_grad=True)
        runs = {"plain": towers.attend, "plain-compiled": torch.compile(towers.attend, dynamic=False), "sdpa": towers.attend, "cudnn": towers.attend}
        times = {kind: [] for kind in runs}
        for turn in range(args.rounds + 1):
            for kind, run in runs.items():
                for timed in (False, True):
                    wait()
                    started = time.perf_counter()
                    for _ in range(20 if timed and GPU else 2):
                        run(*qkv, kind.split("-")[0]).sum().backward()
                        qkv.grad = None
                    wait()
                    if timed and turn:
                        times[kind].append((time.perf_counter() - started) / (20 if GPU else 2))
        medians = {kind: sorted(values)[len(values) // 2] for kind, values in times.items()}
        rows.append({"tokens": tokens, "batch": batch, "heads": 16, "msForwardAndBackward": {kind: round(1e3 * value, 3) for kind, value in medians.items()},
                     "timesPlain": {kind: round(medians["plain"] / value, 3) for kind, value in medians.items()}})
        say(**rows[-1])
    write("attention", {**describe(), "rows": rows})


def write(name, result):
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("towers", "attention"))
    parser.add_argument("--model", default="EVA02-B-16")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--depth", type=int, help="fewer blocks, to try the command")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=430, help="after these no further configuration is begun")
    parser.add_argument("--short", action="store_true", help="towers: stock and kenpin compiled alone")
    parser.add_argument("--no-profile", dest="profile", action="store_false")
    args = parser.parse_args()
    {"towers": bench_towers, "attention": bench_attention}[args.what](args)


if __name__ == "__main__":
    main()
