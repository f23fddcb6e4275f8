"""Batches of episodes (generator/), drawn once on the training device and then visited again and again, each time turned and captioned
anew. In: `generated` of job.data: {"surfaces", "seed", "captions", "without"}; `captions` is the table that kenpin's TypeScript writes
(caption-file.ts): every caption with its tokens, its claims and how likely it is. Out: batches as SurfacePool gives them, whole episodes
in a row; `episode` says how many pictures one has.
"""
import json
import pathlib

import torch
import torch.nn.functional as F

from .generator import FAMILIES, ROLES, draw_episodes
from .generator.defects import DEFECTS
from .job import Refused
from .surfaces import draw_kept, draw_masked, judged_patches, turn
from .targets import hog

#: Episodes drawn at a time, of each family.
CHUNK = 20
CLAIMS = ("material", "state", "defect", "lacks")
NO_DROPOUT = {"ratio": 0, "unmaskedTail": 0}


class EpisodePool:
    chunk = CHUNK

    def __init__(self, data, job, ranks):
        self.job, self.ranks = job, ranks
        self.table = CaptionTable(data["captions"], ranks.device)
        without = set(data.get("without", []))
        self.names = [name for name in self.table.materials if name not in without]
        unknown = sorted((without - set(self.table.materials)) | (set(self.table.materials) - set(FAMILIES)))
        if unknown:
            raise Refused(f"no such family of surfaces: {unknown[0]}; there are {', '.join(FAMILIES)}")
        if job.recipe.get("referenceLoss", 0) > 0 and job.recipe.get("patchDropout", NO_DROPOUT)["ratio"] > 0:
            raise Refused("referenceLoss compares whole pictures; set patchDropout to 0, or referenceLoss to 0")
        self.per_batch = job.recipe["batch"] // len(ROLES)
        self.size = self.per_batch * len(ROLES)
        image = job.config["image"]
        self.patch = image["patch"]
        self.mean, self.std = (torch.tensor(job.config["preprocess"][key], device=ranks.device).view(3, 1, 1) for key in ("mean", "std"))
        self._fill(data["seed"], data["surfaces"] // len(ROLES), image["size"])

    def _fill(self, seed, wanted, side):
        """Pictures and patches' shares of defect, [E, R, …], as bytes, and the pictures' captions' keys [E, R]."""
        grid, each = side // self.patch, self.chunk * len(self.names)
        count = max(each, -(-wanted // each) * each)
        device = self.ranks.device
        self.pictures = torch.empty(count, len(ROLES), 3, side, side, dtype=torch.uint8, device=device)
        self.shares = torch.empty(count, len(ROLES), grid, grid, dtype=torch.uint8, device=device)
        self.material = torch.empty(count, dtype=torch.long, device=device)
        self.flaw = torch.empty(count, len(ROLES), dtype=torch.long, device=device)
        number = torch.tensor([self.table.materials.index(name) for name in self.names], device=device)
        for start in range(0, count, each):
            drawn = draw_episodes(seed + start, each, side=side, names=self.names, flaws=self.table.flaws, device=device)
            rows = slice(start, start + each)
            self.pictures[rows], self.flaw[rows], self.material[rows] = drawn.pictures, drawn.flaw, number[drawn.family]
            self.shares[rows] = F.avg_pool2d(drawn.masks.flatten(0, 1).float(), self.patch).round().to(torch.uint8).view(each, len(ROLES), grid, grid)

    def __len__(self):
        return len(self.pictures)

    def read(self, draw, progress):
        device = self.ranks.device
        generator = torch.Generator(device=device).manual_seed(self.job.seed * 1_000_003 + draw)
        rows = self._rows(draw).to(device)
        start, end = self.ranks.range(self.size)
        if start % len(ROLES) or end % len(ROLES):
            raise Refused(f"a batch of {self.size} cannot be split over {self.ranks.world} ranks in whole episodes of {len(ROLES)}")
        own = rows[start // len(ROLES) : end // len(ROLES)]
        pictures, shares = self._turned(self.pictures[own], start), self._turned(self.shares[rows], 0)
        batch = {"pixel_values": (pictures.flatten(0, 1).float() / 255 - self.mean) / self.std, "size": self.size, "episode": len(ROLES)}
        if self.job.stage == "pretrain":
            return {**batch, **self._masked(batch["pixel_values"], generator, start, end)}
        material = self.material[rows].repeat_interleave(len(ROLES))
        flaw = self.flaw[rows].flatten()
        batch.update(self.table.draw(material, flaw, generator), flaw=flaw[start:end])
        return {**batch, **self._patches(shares.flatten(2).flatten(0, 1).float() / 255, generator, progress, start, end)}

    def _patches(self, share, generator, progress, start, end):
        kept = draw_kept(self.job.recipe.get("patchDropout", NO_DROPOUT), (self.size, share.shape[1]), generator, progress)
        targets, weights = judged_patches(share, kept)  # of the whole batch: every rank divides by the same sum
        out = {} if kept is None else {"kept": kept[start:end]}
        return {**out, "patch_targets": targets[start:end], "patch_weights": weights[start:end], "patch_weight_sum": weights.sum()}

    def _masked(self, pixels, generator, start, end):
        masked = draw_masked(self.job, self.size, generator)
        targets = {"targets": hog(pixels, self.patch)} if self.job.recipe["target"] == "hog" else {}
        return {**targets, "masked": masked[start:end], "masked_sum": masked.sum()}

    def _turned(self, planes, first):
        """The batch's eighths, each turned and mirrored in its own way, an episode's pictures alike."""
        kinds = ((torch.arange(len(planes)) + first // len(ROLES)) * 8 // self.per_batch).tolist()
        bounds = [i for i in range(len(kinds)) if i == 0 or kinds[i] != kinds[i - 1]] + [len(kinds)]
        return torch.cat([turn(planes[a:b], kinds[a]) for a, b in zip(bounds, bounds[1:])])

    def _rows(self, draw):
        places = torch.arange(draw * self.per_batch, (draw + 1) * self.per_batch)
        count = len(self)
        orders = {epoch: torch.randperm(count, generator=torch.Generator().manual_seed(self.job.seed + epoch)) for epoch in (places // count).unique().tolist()}
        return torch.cat([orders[epoch][places[places // count == epoch] % count] for epoch in orders])


class CaptionTable:
    def __init__(self, path, device):
        try:
            index = json.loads(pathlib.Path(path).read_text())
        except (OSError, ValueError) as error:
            raise Refused(f"the captions {path} cannot be read: {error}; kenpin generate --captions writes them") from error
        self.materials, self.flaws = index["materials"], index["defects"]
        if self.flaws[: len(DEFECTS)] != list(DEFECTS):
            raise Refused(f"the captions {path} speak of other defects than are drawn; write them anew")
        captions = index["captions"]
        longest = max(len(caption["ids"]) for caption in captions)
        self.ids = torch.tensor([caption["ids"] + [0] * (longest - len(caption["ids"])) for caption in captions], device=device)
        self.claims = torch.tensor([[caption[claim] for claim in CLAIMS] for caption in captions], device=device)
        self._list_choices(torch.tensor([caption["weight"] for caption in captions], device=device))

    def _list_choices(self, weights):
        """For each material and flaw the captions that are true, and their weights' sums, [keys, L]."""
        device, keys = weights.device, len(self.materials) * (len(self.flaws) + 1)
        key = torch.arange(keys, device=device)
        true = self.truths(key // (len(self.flaws) + 1), key % (len(self.flaws) + 1) - 1, slice(None))
        longest = int(true.sum(1).max())
        order = true.float().argsort(dim=1, descending=True, stable=True)[:, :longest]
        self.choices = order
        self.sums = (weights[order] * true.gather(1, order)).cumsum(1)

    def truths(self, material, flaw, columns):
        """[B, C] whether captions are true of surfaces, however they were captioned."""
        of, state, defect, lacks = self.claims[columns].unbind(1)
        material, flaw = material[:, None], flaw[:, None]
        return (
            ((of < 0) | (of == material)) & ((state < 0) | (state == (flaw >= 0).long())) & ((defect < 0) | (defect == flaw)) & ((lacks < 0) | (lacks != flaw))
        )

    def draw(self, material, flaw, generator):
        key = material * (len(self.flaws) + 1) + flaw + 1
        sums = self.sums[key]
        wanted = torch.rand(len(key), 1, device=key.device, generator=generator) * sums[:, -1:]
        chosen = self.choices[key].gather(1, torch.searchsorted(sums, wanted, right=True).clamp(max=sums.shape[1] - 1))
        columns, own = chosen[:, 0].unique(return_inverse=True)
        positive = F.one_hot(own, len(columns)).bool()
        return {"ids": self.ids[columns], "positive": positive, "blocked": self.truths(material, flaw, columns) & ~positive}
