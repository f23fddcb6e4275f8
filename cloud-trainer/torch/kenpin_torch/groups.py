"""Which share of the rate each parameter gets, and which have weight decay: the released EVA-CLIP recipe's groups.

Image tower, text tower and the rest have rates of their own; inside a tower the rate falls with the distance from the
output: id 0 for all embeddings, i + 1 for block i, n + 1 for what comes after n blocks; share = decay^(n + 1 − id).
The same rules as src/train/engines/tfjs/parameter-groups.ts, name by name.
"""
import re

import torch
from timm.optim import Lamb

from .group_lamb import GroupLamb

_EMBEDDINGS = re.compile(r"patch_embed|pos_embed|cls_token|positional_embedding|token_embedding")
_BLOCK = re.compile(r"blocks\.(\d+)\.")
_NO_DECAY = re.compile(r"(bias|pos_embed|positional_embedding|cls_token|logit_scale)$")


def tower_of(name):
    if name.startswith("visual."):
        return "image"
    return "text" if name.startswith("text.") else "other"


def has_decay(name, value):
    return value.ndim > 1 and not _NO_DECAY.search(name)


def layer_id(name, layers):
    if _EMBEDDINGS.search(name):
        return 0
    block = _BLOCK.search(name)
    return layers + 1 if block is None else int(block.group(1)) + 1


def share_of(name, value, config, recipe, known):
    """Factor of a step's rate. A parameter the model's configuration does not know gets the rate of `other`, whole."""
    tower = tower_of(name)
    share = recipe["rates"][tower]
    if known and not has_decay(name, value):
        share *= recipe["plainShare"]
    if tower == "other":
        return share
    layers = config["image"]["depth"] if tower == "image" else config["text"]["layers"]
    return share * recipe["layerDecay"][tower] ** (layers + 1 - layer_id(name, layers))


def parameter_groups(named, config, recipe, own=None):
    """Groups of tower × layer × decay with their share; `own` names a stage's own parameters, with a factor each."""
    own = own or {}
    groups = {}
    for name, value in named:
        if not value.requires_grad:
            continue
        share = share_of(name, value, config, recipe, name not in own) * own.get(name, 1.0)
        decay = recipe["weightDecay"] if has_decay(name, value) else 0.0
        key = (tower_of(name), share, decay)
        group = groups.setdefault(key, {"params": [], "names": [], "share": share, "lr": share, "weight_decay": decay})
        group["params"].append(value)
        group["names"].append(name)
    return list(groups.values())


def optimizer_of(recipe):
    """Class and options. The gradients are clipped before it (engine.py), as all ranks must agree on one norm: LAMB's own clip is off."""
    both = dict(lr=1.0, betas=(recipe["beta1"], recipe["beta2"]), eps=recipe["eps"], weight_decay=recipe["weightDecay"])
    if recipe["name"] == "adamw":
        return torch.optim.AdamW, both
    return GroupLamb if recipe.get("trustScope") == "group" else Lamb, {**both, "max_grad_norm": None}
