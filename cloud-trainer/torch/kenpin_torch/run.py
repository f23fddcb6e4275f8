"""Runs one stage of a recipe as job.json says, in one process or in several under torchrun:

    python -m kenpin_torch.run --job job.json
    python -m torch.distributed.run --nproc-per-node 8 -m kenpin_torch.run --job job.json

In: job.py's fields. Out, in the stage's folder: metrics.jsonl, checkpoints/, and at the end out/model.safetensors and
out/figures.json; on stdout JSON lines. Killed at any step it goes on from its last checkpoint when it is started again.
"""
import argparse
import json
import os
import pathlib
import sys
import traceback

import torch
from safetensors.torch import save_file

from . import fused
from .data import open_data, say
from .job import Refused, read_job
from .ranks import Ranks
from .stages import STAGES
from .steps import Loop, Stopped

#: sysexits' EX_CONFIG: starting again will not help.
REFUSED, STOPPED = 78, 143


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", required=True)
    ranks = None
    try:
        job = read_job(parser.parse_args().job)
        ranks = Ranks(job.device)
        run(job, ranks)
    except Refused as error:
        say(refused=str(error))
        return REFUSED
    except Stopped:
        return STOPPED
    except torch.OutOfMemoryError as error:
        say(refused=f"the device's memory is full ({str(error).splitlines()[0]}); lower batch, or set microBatch")
        return REFUSED
    except Exception:  # a lost peer, most likely: nothing may wait for it, torchrun is to start all ranks again
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    ranks.close()
    return 0


def run(job, ranks):
    torch.manual_seed(job.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job.precision == "bf16"
    fused.compile_parts(job.compile)
    stage = STAGES[job.stage](job, ranks).to(ranks.device)
    stage.after_load()
    folder = pathlib.Path(job.folder)
    if ranks.first:
        say(began={"ranks": ranks.world, "device": torch.cuda.get_device_name() if ranks.device.type == "cuda" else "cpu", "torch": torch.__version__})
    loop = Loop(job, ranks, stage, open_data(job, ranks), folder)
    figures = loop.run()
    if ranks.first:
        out = folder / "out"
        out.mkdir(exist_ok=True)
        save_file(loop.result(), out / "model.safetensors", metadata={"model": job.config["name"]})
        (out / "figures.json").write_text(json.dumps(figures) + "\n")
        say(ended=figures)


if __name__ == "__main__":
    code = main()
    if code:
        os._exit(code)  # the other ranks may be gone or waiting: no orderly end with them
