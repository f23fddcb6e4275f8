"""Shards of generated surfaces, as `kenpin generate` writes them, held whole on the training device."""
import json
import pathlib

import numpy as np
import torch


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


def turn(pictures, masks, kind):
    if kind & 1:
        pictures, masks = pictures.flip(-1), masks.flip(-1)
    if kind & 2:
        pictures, masks = pictures.flip(-2), masks.flip(-2)
    if kind & 4:
        pictures, masks = pictures.transpose(-1, -2), masks.transpose(-1, -2)
    return pictures, masks
