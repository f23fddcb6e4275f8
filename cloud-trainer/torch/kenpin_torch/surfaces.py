"""Shards of generated surfaces, as `kenpin generate` writes them, held whole on the training device."""
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

from .job import Refused

#: A patch touched by less than this share of a defect is good; by more than the second, defective; between, unsure.
UNTOUCHED, TOUCHED = 0.02, 0.25
TOUCHED_WEIGHT = 4.0
import torch.nn.functional as F

from .job import Refused

#: A patch touched by less than this share of a defect is good; by more than the second, defective; between, unsure.
UNTOUCHED, TOUCHED = 0.02, 0.25
TOUCHED_WEIGHT = 4.0


class Surfaces:
    """pictures [N, 3, S, S] and masks [N, S, S] as bytes; material, defect (or -1) and caption ids of each."""

    def __init__(self, folders, device):
        parts = [self._read(pathlib.Path(folder)) for folder in folders]
        self.index = parts[0]["index"]
        texts, claims, self.ids = {}, [], []
        for part in parts:  # shards number their captions on their own: one list for all
            remap = []
            for caption in part["index"]["captions"]:
                if caption["text"] not in texts:
                    texts[caption["text"]] = len(claims)
                    claims.append([caption["material"], caption["state"], caption["defect"]])
                    self.ids.append(caption["ids"])
                remap.append(texts[caption["text"]])
            part["labels"][:, 2:] = np.asarray(remap, dtype=np.int32)[part["labels"][:, 2:]]
        self.pictures = torch.cat([torch.from_numpy(part["pictures"]).to(device) for part in parts])
        self.masks = torch.cat([torch.from_numpy(part["masks"]).to(device) for part in parts])
        labels = torch.from_numpy(np.concatenate([part["labels"] for part in parts])).long().to(device)
        self.material, self.defect, self.captions = labels[:, 0], labels[:, 1], labels[:, 2:]
        self.claims = torch.tensor(claims, device=device)
        self.ids = torch.tensor(self.ids, device=device)
        words = self.index["words"]
        self.words = (torch.tensor(words["good"], device=device), torch.tensor(words["bad"], device=device))

    @staticmethod
    def _read(folder):
        index = json.loads((folder / "index.json").read_text())
        side, count = index["model"]["image"]["size"], index["count"]
        return {
            "index": index,
            "pictures": np.fromfile(folder / "pictures.u8", dtype=np.uint8).reshape(count, 3, side, side),
            "masks": np.fromfile(folder / "masks.u8", dtype=np.uint8).reshape(count, side, side),
            "labels": np.fromfile(folder / "labels.i32", dtype=np.int32).reshape(count, 2 + index["captionsEach"]),
        }

    def __len__(self):
        return len(self.pictures)

    def truths(self, rows):
        """[B, C] whether a caption is true of a surface, however that surface was captioned."""
        material, state, defect = self.claims.unbind(1)
        own = self.defect[rows][:, None]
        return (
            ((material < 0) | (material == self.material[rows][:, None]))
            & ((state < 0) | (state == (own >= 0).long()))
            & ((defect < 0) | (defect == own))
        )


class SurfacePool:
    """Batches of one draw from surfaces on the device; every rank draws the whole batch's rows and makes its own pixels."""

    def __init__(self, folders, job, ranks):
        for folder in folders:
            if not (pathlib.Path(folder) / "index.json").is_file():
                raise Refused(f"{folder} holds no generated surfaces: index.json is missing; kenpin generate writes such folders")
        self.pool, self.job, self.ranks = Surfaces(folders, ranks.device), job, ranks
        self.size, self.patch = self.job.recipe["batch"], job.config["image"]["patch"]
        side = self.pool.pictures.shape[-1]
        if side != job.config["image"]["size"]:
            raise Refused(f"the surfaces are {side} pixels wide, the model {job.config['name']} sees {job.config['image']['size']}; generate them for it")
        self.mean, self.std = (torch.tensor(job.config["preprocess"][key], device=ranks.device).view(3, 1, 1) for key in ("mean", "std"))

    def read(self, draw, progress):
        device = self.ranks.device
        generator = torch.Generator(device=device).manual_seed(self.job.seed * 1_000_003 + draw)
        rows = self._rows(draw).to(device)
        start, end = self.ranks.range(self.size)
        pictures = self._turned(self.pool.pictures[rows[start:end]], start)
        batch = {"pixel_values": (pictures.float() / 255 - self.mean) / self.std, "size": self.size}
        if self.job.stage == "pretrain":
            return {**batch, **self._masked(generator, start, end)}
        batch.update(self._captions(rows, generator))
        if self.job.stage == "train":
            batch.update(self._patches(self._turned(self.pool.masks[rows], 0).float() / 255, generator, progress, start, end))
        return batch

    def _turned(self, planes, first):
        """The batch's eighths, each turned and mirrored in its own way; `first` is the place of the first row in the batch."""
        kinds = (torch.arange(first, first + len(planes)) * 8 // self.size).tolist()
        bounds = [i for i in range(len(kinds)) if i == 0 or kinds[i] != kinds[i - 1]] + [len(kinds)]
        return torch.cat([turn(planes[a:b], kinds[a]) for a, b in zip(bounds, bounds[1:])])

    def _rows(self, draw):
        """Epochs, each shuffled anew, one after the other."""
        places = torch.arange(draw * self.size, (draw + 1) * self.size)
        count = len(self.pool)
        orders = {epoch: torch.randperm(count, generator=torch.Generator().manual_seed(self.job.seed + epoch)) for epoch in (places // count).unique().tolist()}
        return torch.stack([orders[place // count][place % count] for place in places.tolist()])

    def _captions(self, rows, generator):
        choice = torch.randint(self.pool.captions.shape[1], (len(rows), 1), device=rows.device, generator=generator)
        columns, own = self.pool.captions[rows].gather(1, choice)[:, 0].unique(return_inverse=True)
        positive = F.one_hot(own, len(columns)).bool()
        return {"ids": self.pool.ids[columns], "positive": positive, "blocked": self.pool.truths(rows)[:, columns] & ~positive}

    def _patches(self, masks, generator, progress, start, end):
        share = F.avg_pool2d(masks[:, None], self.patch).flatten(1)
        kept = draw_kept(self.job.recipe["patchDropout"], share.shape, generator, progress)
        targets, weights = judged_patches(share, kept)
        out = {} if kept is None else {"kept": kept[start:end]}
        return {**out, "patch_targets": targets[start:end], "patch_weights": weights[start:end], "patch_weight_sum": weights.sum()}

    def _masked(self, generator, start, end):
        masked = draw_masked(self.job, self.size, generator)
        return {"masked": masked[start:end], "masked_sum": masked.sum()}


def judged_patches(share, kept=None):
    """[B, P] shares of patches that a defect covers → what is asked of each patch, and how much it counts; of those kept."""
    targets = (share > TOUCHED).float()
    weights = torch.where(share > TOUCHED, TOUCHED_WEIGHT, (share < UNTOUCHED).float())
    return (targets, weights) if kept is None else (targets.gather(1, kept), weights.gather(1, kept))


def draw_kept(dropout, shape, generator, progress):
    """[B, K] numbers of the patches that stay, or None where all do: without patch dropout, and in its unmasked tail."""
    if dropout["ratio"] == 0 or progress >= 1 - dropout["unmaskedTail"]:
        return None
    order = torch.rand(shape, device=generator.device, generator=generator).argsort(1)
    return order[:, : max(1, round(shape[1] * (1 - dropout["ratio"])))].sort(1).values


def draw_masked(job, size, generator):
    """[B, P] with 1 where a patch is masked: blocks until the ratio is reached, a block for every picture at a time."""
    grid = job.config["image"]["size"] // job.config["image"]["patch"]
    wanted = round(grid * grid * job.recipe["maskRatio"])
    device = generator.device
    place = torch.arange(grid, device=device)
    masked = torch.zeros(size, grid, grid, dtype=torch.bool, device=device)
    while True:
        short = wanted - masked.flatten(1).sum(1)
        if not (short > 0).any():
            return masked.flatten(1).float()
        draw = torch.rand(size, 4, device=device, generator=generator)
        area = 1 + draw[:, 0] * short.clamp(min=1, max=grid * grid // 4)
        ratio = (0.3 * (1 / 0.3) ** (2 * draw[:, 1])).sqrt()
        high, wide = ((area.sqrt() * one).round().clamp(1, grid) for one in (ratio, 1 / ratio))
        top, left = ((draw[:, i] * (grid - one + 1)).floor() for i, one in ((2, high), (3, wide)))
        rows = (place >= top[:, None]) & (place < (top + high)[:, None])
        columns = (place >= left[:, None]) & (place < (left + wide)[:, None])
        block = (rows[:, :, None] & columns[:, None]).flatten(1) & ~masked.flatten(1)
        block &= block.cumsum(1) <= short[:, None]  # not past the ratio
        masked |= block.view_as(masked)


def turn(planes, kind):
    if kind & 1:
        planes = planes.flip(-1)
    if kind & 2:
        planes = planes.flip(-2)
    return planes.transpose(-1, -2) if kind & 4 else planes
