"""Generated surfaces by the thousand on the device that trains: episodes of one product under one light each.

In: a seed and how many episodes, a multiple of the families. Out: `Episodes`, pictures and masks as bytes. A picture's place in its
episode says what it is for (`ROLES`): good references, good ones, the same family made otherwise (good for words, which know no
better; not what the references show), then bad ones: made wrongly where the family can be, or with a defect painted in.
The families, flaws and what befalls a picture are those of src/samples/, whose statistics a test holds against these.
"""
from dataclasses import dataclass

import torch

from . import materials, products  # noqa: F401 (to be imported fills FAMILIES, in the order of caption.ts)
from .defects import DEFECTS, PAINTED_CONTRAST, WRONG_CONTRAST, is_visible, paint
from .family import FAMILIES
from .fields import Draw
from .imaging import again, draw_look, expose, shade

ROLES = ("reference", "reference", "reference", "reference", "good", "changed", "wrong", "wrong", "painted", "painted")
BAD = ("wrong", "painted")
CHANGED = ROLES.index("changed")
#: Constants of which there is nothing between two; a product made otherwise is often only a little so in its others.
CHOSEN = {"twill", "shifted", "tinted", "alone", "outline", "odd_outline", "layout"}
#: Of other textures put into a surface, those of the same family made otherwise.
SAME_FAMILY = 0.4


def flaw_names(names=None):
    """Everything that can be wrong, in the order in which FLAWS of caption.ts has it when the families stand in the same order."""
    return [*DEFECTS, *(flaw for name in names or FAMILIES for flaw in FAMILIES[name].flaws)]


@dataclass
class Episodes:
    pictures: torch.Tensor  # [E, R, 3, S, S] bytes
    masks: torch.Tensor  # [E, R, S, S] bytes
    family: torch.Tensor  # [E] in the order of the names asked for
    flaw: torch.Tensor  # [E, R] in the order of flaw_names, −1 for none

    def __len__(self):
        return len(self.pictures)


@torch.no_grad()
def draw_episodes(seed, count, *, side, names, flaws, device, exposed=True):
    """`names` the families to draw, `flaws` the names that `flaw` counts in; each family gets count / len(names) episodes."""
    draw, each = Draw(seed, device), count // len(names)
    roles = len(ROLES)
    number = {name: i for i, name in enumerate(flaws)}
    flaw = torch.full((len(names), each, roles), -1, device=device)
    good, bad, mask = [], [], []
    look = {name: value.repeat_interleave(roles, 0) for name, value in draw_look(draw, len(names) * each).items()}
    look = again(draw, look)
    for i, name in enumerate(names):
        family = FAMILIES[name]
        own = {key: value[i * each * roles : (i + 1) * each * roles] for key, value in look.items()}
        relief, spoilt, masks = _family_reliefs(draw, family, each, side, flaw[i], number)
        good.append(shade(*relief, own).view(each, roles, 3, side, side))
        bad.append(shade(*spoilt, own).view(each, roles, 3, side, side))
        mask.append(masks.view(each, roles, side, side))
    good, bad, mask = torch.cat(good), torch.cat(bad), torch.cat(mask)
    flaw = flaw.flatten(0, 1)
    made_wrongly = flaw >= 0
    free_count = each * (len(names) * sum(role in BAD for role in ROLES) - ROLES.count("wrong") * sum(bool(FAMILIES[name].flaws) for name in names))
    bad, mask, flaw = _painted(draw, good, bad, mask, flaw, number, free_count)
    contrast = torch.where(made_wrongly, WRONG_CONTRAST, PAINTED_CONTRAST).flatten()
    seen = is_visible(good.flatten(0, 1), bad.flatten(0, 1), mask.flatten(0, 1), contrast).view_as(flaw) & (flaw >= 0)
    pictures = torch.where(seen[..., None, None, None], bad, good)
    mask, flaw = mask * seen[..., None, None], torch.where(seen, flaw, -1)
    pictures = expose(draw, pictures.flatten(0, 1)).view_as(pictures) if exposed else pictures
    family = torch.arange(len(names), device=device).repeat_interleave(each)
    return Episodes(_bytes(pictures), _bytes(mask), family, flaw)


def _bytes(planes):
    return (planes * 255).round().to(torch.uint8)


def _family_reliefs(draw, family, each, side, flaw, number):
    """Reliefs of all roles of `each` products, good, and made wrongly where the role says so; fills in `flaw` [each, R]."""
    roles = len(ROLES)
    constants = {key: value.repeat_interleave(roles, 0) for key, value in family.draw(draw, each).items()}
    own_share = draw.between(each, 0.3, 1.4).clamp(max=1)
    for key, value in family.draw(draw, each).items():
        own = constants[key].view(each, roles, *value.shape[1:])
        share = own_share if key not in CHOSEN else (own_share > 0.6).float()
        own[:, CHANGED] = own[:, CHANGED].lerp(value, share.view(-1, *[1] * (value.dim() - 1)))
    if family.pose:
        constants = family.pose(draw, constants)
    height, coat = _rendered(draw, family, constants, side)
    wrong_height, wrong_coat, mask = height.clone(), coat.clone(), torch.zeros_like(height)
    rows = torch.arange(each * roles, device=draw.device).view(each, roles)[:, [r == "wrong" for r in ROLES]].flatten()
    for i, (name, spoil) in enumerate(family.flaws.items()):
        own = rows[i :: len(family.flaws)]
        if len(own) == 0:
            continue
        wrong, where = spoil(draw, {key: value[own] for key, value in constants.items()}, side)
        other_height, other_coat = _rendered(draw, family, wrong, side)
        where = where.expand_as(other_height)
        wrong_height[own] = height[own].lerp(other_height, where)
        wrong_coat[own] = coat[own].lerp(other_coat, where)
        mask[own] = where
        flaw.view(-1)[own] = number[name]
    return (height, coat), (wrong_height, wrong_coat), mask


def _rendered(draw, family, constants, side):
    height, coat = family.render(draw, constants, side)
    return height, torch.zeros_like(height) if coat is None else coat


def _painted(draw, good, bad, mask, flaw, number, free_count):
    """Each kind of defect on an equal share of the bad roles in which nothing was made wrongly."""
    roles = flaw.shape[1]
    wanted = torch.tensor([role in BAD for role in ROLES], device=flaw.device)
    free = (wanted & (flaw < 0)).flatten()
    # A fixed number of rows, so that the host need not wait for the device: those that are free come first in a random order.
    order = (draw.uniform(len(free)) + (~free).float() * 2).argsort()
    per_kind = free_count // len(DEFECTS)
    flat_good, flat_bad, flat_mask = good.flatten(0, 1), bad.flatten(0, 1).clone(), mask.flatten(0, 1).clone()
    flat_flaw = flaw.flatten().clone()
    for i, name in enumerate(DEFECTS):
        rows = order[i * per_kind : (i + 1) * per_kind]
        ground = flat_good[rows]
        same = (rows // roles) * roles + CHANGED
        any_one = (draw.uniform(len(rows)) * len(flat_good)).long().clamp(max=len(flat_good) - 1)
        other = flat_good[torch.where(draw.uniform(len(rows)) < SAME_FAMILY, same, any_one)]
        painted, where = paint(draw, ground, name, other)
        flat_bad[rows], flat_mask[rows], flat_flaw[rows] = painted, where.expand(len(rows), *mask.shape[2:]), number[name]
    return flat_bad.view_as(good), flat_mask.view_as(mask), flat_flaw.view_as(flaw)
