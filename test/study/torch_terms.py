"""What the study asks of kenpin_torch beyond the shipped recipes, as numbers that torch-terms.test.ts judges:

    python torch_terms.py CAPTIONS PIXELS     pixels: [2, 3, 80, 80] float32 in the file PIXELS

One JSON object: histograms of oriented gradients of those pixels, a step of LAMB with a trust ratio a group, batches drawn on the device
for masked image modelling and with patches dropped.
"""
import json
import sys

import numpy as np
import torch

from kenpin_torch import groups
from kenpin_torch.episodes import EpisodePool
from kenpin_torch.generator import ROLES
from kenpin_torch.job import Job
from kenpin_torch.ranks import Ranks
from kenpin_torch.targets import hog

CONFIG = {"image": {"size": 32, "patch": 8}, "preprocess": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
FAMILIES = ("cast", "wood")


def group_step(scope, seen=1):
    """The weights and gradients of test/cloud-trainer/train/optimizer.test.ts."""
    weights = {"visual.a.weight": [[3.0, 0.0]], "visual.b.weight": [[0.0], [4.0]], "text.c.weight": [[6.0, 8.0]], "visual.d.bias": [2.0]}
    held = [(name, torch.nn.Parameter(torch.tensor(value))) for name, value in weights.items()]
    recipe = {"name": "lamb", "beta1": 0.9, "beta2": 0.98, "eps": 1e-12, "weightDecay": 0.5, "trustScope": scope, "plainShare": 1, "rates": {"image": 1, "text": 1, "other": 1}, "layerDecay": {"image": 1, "text": 1}}
    config = {"image": {"depth": 1}, "text": {"layers": 1}}
    kind, options = groups.optimizer_of(recipe)
    packs = [{key: value for key, value in group.items() if key != "names"} for group in groups.parameter_groups(held, config, recipe)]
    optimizer = kind(packs, **options)
    for _ in range(seen):
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        for _, value in held:
            value.grad = torch.ones_like(value)
        optimizer.step()
    return [value.detach().flatten().tolist() for _, value in held]


def batch(captions, stage, recipe, progress, ranks=None):
    table = json.loads(open(captions).read())
    data = {"surfaces": 10, "seed": 1, "captions": captions, "without": [name for name in table["materials"] if name not in FAMILIES]}
    job = Job(stage, CONFIG, "", "", {"batch": 40, **recipe}, data)
    pool = EpisodePool(data, job, ranks or Ranks("cpu"))
    return pool.read(0, progress)


def dropped(captions, progress):
    drawn = batch(captions, "train", {"patchDropout": {"ratio": 0.5, "unmaskedTail": 0.25}}, progress)
    kept = drawn.get("kept")
    return {
        "kept": None if kept is None else list(kept.shape), "targets": list(drawn["patch_targets"].shape), "weights": list(drawn["patch_weights"].shape),
        "increasing": kept is None or bool((kept.diff(dim=1) > 0).all()),
    }


def shared(captions):
    """The largest difference of two ranks' shares of a batch, one after the other, from the whole of it."""
    recipe = {"patchDropout": {"ratio": 0.5, "unmaskedTail": 0}}
    ranks = [Ranks("cpu"), Ranks("cpu")]
    for number, one in enumerate(ranks):
        one.rank, one.world = number, 2
    whole, *parts = [batch(captions, "train", recipe, 0.0, one) for one in (None, *ranks)]
    names = ("pixel_values", "patch_targets", "patch_weights", "kept")
    rows = [(torch.cat([part[name] for part in parts]) - whole[name]).abs().max().item() for name in names]
    return max(rows + [(part["patch_weight_sum"] - whole["patch_weight_sum"]).abs().item() for part in parts])


def masked(captions, target):
    drawn = batch(captions, "pretrain", {"maskRatio": 0.41, "target": target}, 0.0)
    targets = drawn.get("targets")
    return {"masked": drawn["masked"].sum(1).unique().tolist(), "pictures": len(drawn["pixel_values"]), "targets": None if targets is None else list(targets.shape)}


def main():
    captions, pixels = sys.argv[1:]
    given = torch.from_numpy(np.fromfile(pixels, dtype=np.float32).reshape(2, 3, 80, 80))
    print(json.dumps({
        "roles": len(ROLES), "hog": hog(given, 8).flatten().tolist(), "tensor": group_step("tensor"), "group": group_step("group"),
        "dropped": dropped(captions, 0.5), "tail": dropped(captions, 0.8), "hogBatch": masked(captions, "hog"), "clipBatch": masked(captions, "clip"),
        "shared": shared(captions),
    }))


main()
