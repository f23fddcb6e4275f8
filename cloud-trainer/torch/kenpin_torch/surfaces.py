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

    def batch(self, rows, generator, mean, std):
        """Turned and mirrored alike in eight groups; returns pixels [B, 3, S, S] and the mask's share of each pixel."""
        pictures, masks = self.pictures[rows], self.masks[rows]
        turned = [turn(picture_group, mask_group, kind) for kind, (picture_group, mask_group) in enumerate(zip(pictures.chunk(8), masks.chunk(8)))]
        pictures = torch.cat([pair[0] for pair in turned]).float() / 255
        masks = torch.cat([pair[1] for pair in turned]).float() / 255
        choice = torch.randint(self.captions.shape[1], (len(rows), 1), device=rows.device, generator=generator)
        return (pictures - mean) / std, masks, self.captions[rows].gather(1, choice)[:, 0]


class SurfacePool:
    """Batches of generated surfaces for `train` and `distill`: pictures, distinct captions and which pairs are true."""

    def __init__(self, folders, job, ranks):
        if job.stage not in ("train", "distill"):
            raise Refused(f"generated surfaces as shards serve train and distill; the stage {job.stage} takes ready batches")
        missing = [folder for folder in folders if not (pathlib.Path(folder) / "index.json").is_file()]
        if missing:
            raise Refused(f"{missing[0]} holds no index.json; write the shard with kenpin generate")
        self.job, self.ranks, self.surfaces = job, ranks, Surfaces(folders, ranks.device)
        self.size = min(job.recipe["batch"], len(self.surfaces))
        channels = lambda name: torch.tensor(job.config["preprocess"][name], device=ranks.device).view(3, 1, 1)  # noqa: E731
        self.mean, self.std = channels("mean"), channels("std")

    def read(self, draw, progress):
        device = self.ranks.device
        epoch, place = divmod(draw * self.size, len(self.surfaces) - len(self.surfaces) % self.size)
        order = torch.randperm(len(self.surfaces), generator=torch.Generator().manual_seed(self.job.seed * 1_000_003 + epoch))
        rows = order[place : place + self.size].to(device)
        generator = torch.Generator(device).manual_seed(self.job.seed * 1_000_003 + draw)
        pixels, masks, captions = self.surfaces.batch(rows, generator, self.mean, self.std)
        distinct, own = captions.unique(return_inverse=True)
        positive = F.one_hot(own, len(distinct)).float()
        true = self.surfaces.truths(rows)[:, distinct].float()
        start, end = self.ranks.range(self.size)
        batch = {
            "size": self.size,
            "pixel_values": pixels[start:end],
            "ids": self.surfaces.ids[distinct],
            "positive": positive,
            "blocked": true * (1 - positive),
        }
        if self.job.stage == "train":
            targets, weights = self._patches(masks)
            batch |= {"patch_targets": targets[start:end], "patch_weights": weights[start:end], "patch_weight_sum": weights.sum()}
        return batch

    def _patches(self, masks):
        """Of each patch, whether it is defective, and its weight: one hardly touched teaches nothing sure, touched ones are rare."""
        share = F.avg_pool2d(masks[:, None], self.job.config["image"]["patch"]).flatten(1)
        touched = (share > TOUCHED).float()
        return touched, torch.where(share > TOUCHED, TOUCHED_WEIGHT, (share < UNTOUCHED).float())


def turn(pictures, masks, kind):
    if kind & 1:
        pictures, masks = pictures.flip(-1), masks.flip(-1)
    if kind & 2:
        pictures, masks = pictures.flip(-2), masks.flip(-2)
    if kind & 4:
        pictures, masks = pictures.transpose(-1, -2), masks.transpose(-1, -2)
    return pictures, masks
