"""The processes of a run: which of the batch's rows are this one's, and how what was made of them comes together.

Every rank looks at its rows only; what is small of each row (embeddings, logits) is gathered, and the loss is then the whole
batch's on every rank alike. A gathered row's gradient is wanted on the rank that made it alone; DDP takes the mean over ranks,
so it is multiplied by their number there. What all ranks compute alike (words, logit scale) needs no correction.
"""
import datetime
import os
import threading
import time

import torch
import torch.distributed as dist


class Ranks:
    def __init__(self, device=None):
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if "TORCHELASTIC_RUN_ID" in os.environ or "KENPIN_DRIVER" in os.environ:
            threading.Thread(target=_end_with_parents, args=(os.getppid(), int(os.environ.get("KENPIN_DRIVER", 0))), daemon=True).start()
        cuda = torch.cuda.is_available() and device != "cpu"
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)
        if self.world > 1:
            # A dead rank must not hold the others for long: torchrun starts all of them again from the last checkpoint.
            dist.init_process_group("nccl" if cuda else "gloo", timeout=datetime.timedelta(minutes=10))

    @property
    def first(self):
        return self.rank == 0

    def range(self, count, rank=None):
        rank = self.rank if rank is None else rank
        return rank * count // self.world, (rank + 1) * count // self.world

    def gather(self, rows, count):
        """Rows of all ranks in order, [count, …]; the gradient of this rank's own comes back."""
        return rows if self.world == 1 else _Gather.apply(rows, self, count)

    def from_first(self, values):
        """Numbers as rank 0 has them: all must come to the same decisions."""
        if self.world == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, 0)
        return tensor.tolist()

    def mean(self, value):
        if self.world > 1:
            dist.all_reduce(value)
            value /= self.world
        return value

    def any(self, flag):
        if self.world == 1:
            return flag
        tensor = torch.tensor([float(flag)], device=self.device)
        dist.all_reduce(tensor)
        return bool(tensor.item())

    def wait(self):
        if self.world > 1:
            dist.barrier()

    def close(self):
        if self.world > 1:
            dist.destroy_process_group()


def _end_with_parents(parent, driver):
    """Two runs in one folder would mix: a rank whose starter, or torchrun's starter, was killed must not go on alone."""
    while os.getppid() == parent and (driver == 0 or os.path.exists(f"/proc/{driver}") or not os.path.isdir("/proc/self")):
        time.sleep(0.2)
    os._exit(1)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, ranks, count):
        ctx.ranks, ctx.count = ranks, count
        ranges = [ranks.range(count, rank) for rank in range(ranks.world)]
        longest = max(end - start for start, end in ranges)
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in ranges]
        dist.all_gather(parts, padded)
        return torch.cat([part[: end - start] for part, (start, end) in zip(parts, ranges)])

    @staticmethod
    def backward(ctx, gradient):
        start, end = ctx.ranks.range(ctx.count)
        return gradient[start:end] * ctx.ranks.world, None, None
