"""Batches, of which each rank reads its own rows: a draw's number alone decides what is in one, whoever reads it.

    BatchFolder   ready batches, draw-00000012.safetensors, as kenpin's TypeScript writes them; where the folder is fed, each is
                  asked for on stdout ({"want": …}), waited for, and removed when it was used
    Shards        WebDataset shards (kenpin's own, or anybody's with .txt or .json captions), in shards.py
    SurfacePool   shards of generated surfaces, held on the device, in surfaces.py
    EpisodePool   surfaces that the device generates itself, in episodes.py
"""
import json
import pathlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from safetensors import SafetensorError, safe_open

from .job import Refused

#: Tensors with a row a picture, of which a rank reads its own; the rest is the whole batch's.
PER_PICTURE = {
    "train": ("pixel_values", "kept", "patch_targets", "patch_weights"),
    "pretrain": ("pixel_values", "masked", "targets"),
    "tune": ("pixel_values",),
    "distill": ("pixel_values",),
}
PATIENCE_SECONDS = 600
LOOK_AHEAD = 2


class Unreadable(Exception):
    """One batch; the next may be whole."""


_saying = threading.Lock()


def say(**line):
    """One line of JSON, whole: readers of batches speak from threads of their own."""
    with _saying:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


class BatchFolder:
    stopped = False

    def __init__(self, folder, stage, ranks, fed):
        self.folder, self.stage, self.ranks, self.fed = pathlib.Path(folder), stage, ranks, fed
        if not self.folder.is_dir():
            raise Refused(f"{folder}: there is no such folder of batches")

    def read(self, draw, progress):
        path = self.folder / f"draw-{draw:08d}.safetensors"
        if self.fed:
            self._wait(path, draw, progress)
        elif not path.is_file():
            raise Refused(f"{path.name} is missing in {self.folder}; write the batches again, or copy the whole folder")
        try:
            return self._rows(path)
        except (OSError, SafetensorError) as error:
            raise Unreadable(f"{path.name}: {error}") from error

    def _wait(self, path, draw, progress):
        if self.ranks.first and not path.is_file():
            say(want={"draw": draw, "progress": progress})
        failed = path.with_suffix(".error")
        until = time.monotonic() + PATIENCE_SECONDS
        while not path.is_file():
            if failed.is_file():
                raise Unreadable(failed.read_text().strip())
            if self.stopped:
                raise Unreadable("the run has ended")
            if time.monotonic() > until:
                raise Refused(f"no batch came for {PATIENCE_SECONDS} s: {path.name}; is the process that writes batches still there?")
            time.sleep(0.002)

    def _rows(self, path):
        batch, own = {}, PER_PICTURE[self.stage]
        with safe_open(path, framework="pt") as file:
            size = file.get_slice("pixel_values").get_shape()[0]
            start, end = self.ranks.range(size)
            for name in file.keys():
                batch[name] = file.get_slice(name)[start:end] if name in own else file.get_tensor(name)
            if self.stage == "train" and "patch_weights" in batch:
                batch["patch_weight_sum"] = file.get_tensor("patch_weights").sum()
            if self.stage == "pretrain":
                batch["masked_sum"] = file.get_tensor("masked").sum()
        return {**batch, "size": size}

    def used(self, draw):
        if self.fed and self.ranks.first:
            (self.folder / f"draw-{draw:08d}.safetensors").unlink(missing_ok=True)


class Ahead:
    """Reads the next batches while the device works on this one."""

    def __init__(self, source, device):
        self.source, self.device = source, device
        self.pool = ThreadPoolExecutor(LOOK_AHEAD + 1)
        self.coming = {}

    def take(self, draw, progress_after):
        """`progress_after`: the share of the run that will have passed so many steps on."""
        for ahead in range(LOOK_AHEAD + 1):
            if draw + ahead not in self.coming:
                self.coming[draw + ahead] = self.pool.submit(self.source.read, draw + ahead, progress_after(ahead))
        batch = self.coming.pop(draw).result()
        return {name: self._place(value) for name, value in batch.items()}

    def _place(self, value):
        if not torch.is_tensor(value):
            return value
        if self.device.type == "cuda" and value.device.type == "cpu":
            value = value.pin_memory()
        value = value.to(self.device, non_blocking=True)
        return value if value.is_floating_point() else value.long() if value.dtype == torch.int32 else value

    def used(self, draw):
        if hasattr(self.source, "used"):
            self.source.used(draw)

    def close(self):
        """No thread may be at work when the interpreter ends."""
        self.source.stopped = True
        self.pool.shutdown(wait=True, cancel_futures=True)


def open_data(job, ranks):
    data = job.data
    if "batches" in data:
        return BatchFolder(data["batches"], job.stage, ranks, data.get("fed", False))
    if "shards" in data:
        from .shards import Shards

        return Shards(data["shards"], job, ranks)
    if "surfaces" in data:
        from .surfaces import SurfacePool

        return SurfacePool(data["surfaces"], job, ranks)
    if "generated" in data:
        from .episodes import EpisodePool

        return EpisodePool(data["generated"], job, ranks)
    raise Refused(f"data names none of batches, shards, surfaces, generated: {sorted(data)}")
