"""Defects painted into surfaces, as src/samples/defect.ts and defect-shape.ts paint them: where one lies, then what it does there.

In: pictures [n, 3, S, S] in [0, 1]. Out: the changed pictures and masks [n, S, S]; what nobody would see is told by `is_visible`.
"""
import math

import torch

from .fields import TURN, blur, grid, lattice, standardise, white

PAINTED_CONTRAST, WRONG_CONTRAST = 0.35, 0.15


def is_visible(before, after, mask, contrast):
    """[n]: the change within the mask against the surface's own deviation, a number or one a picture."""
    old, new = before.mean(1), after.mean(1)
    weight = mask.sum((1, 2))
    change = (mask * (new - old).abs()).sum((1, 2)) / weight.clamp(min=1e-6)
    least = (contrast * old.std((1, 2), correction=0)).clamp(min=0.02)
    return (weight > 12) & (change > least)


# --- where


def blob(draw, n, side):
    x, y = grid(side, draw.device)
    cx, cy = draw.between(n, 4, side - 4), draw.between(n, 4, side - 4)
    rx, ry, angle = draw.between(n, 3, 13), draw.between(n, 3, 13), draw.between(n, 0, math.pi)
    rag = lattice(draw, n, side, 5.0) * draw.chance(n, 0.5)
    power = torch.where(draw.chance(n, 0.3) > 0, 8.0, 2.0)
    cos, sin = angle.cos(), angle.sin()
    u, v = (((x - cx) * cos + (y - cy) * sin) / rx).abs(), (((y - cy) * cos - (x - cx) * sin) / ry).abs()
    return ((1.15 - u**power - v**power - 0.4 * rag) * 3).clamp(0, 1)


def soft_blob(draw, n, side):
    x, y = grid(side, draw.device)
    cx, cy, radius = draw.between(n, 0, side), draw.between(n, 0, side), draw.between(n, 4, 14)
    near = (-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius * radius)).exp()
    return (1.4 * near + 0.1 * lattice(draw, n, side, 8.0) - 0.25).clamp(0, 1)


def line(draw, n, side):
    x, y = grid(side, draw.device)
    x0, y0, angle = draw.between(n, 0, side), draw.between(n, 0, side), draw.between(n, 0, math.pi)
    length, width = draw.between(n, 10, side), draw.between(n, 0.5, 1.8)
    cos, sin = angle.cos(), angle.sin()
    along, across = (x - x0) * cos + (y - y0) * sin, ((y - y0) * cos - (x - x0) * sin).abs()
    return torch.where(along.abs() < length / 2, (width + 0.5 - across).clamp(0, 1), 0.0)


def _strokes(xs, ys, alive, width, side):
    """Along points [n, T]: those not alive draw nothing."""
    x, y = grid(side, xs.device)
    nearest = torch.full((len(xs), side, side), 1e9, device=xs.device)
    for i in range(0, xs.shape[1], 16):
        px, py, on = (t[:, i : i + 16, None, None] for t in (xs, ys, alive))
        away = torch.where(on, (x - px) ** 2 + (y - py) ** 2, 1e9)
        nearest = torch.minimum(nearest, away.amin(1))
    return (width + 0.5 - nearest.sqrt()).clamp(0, 1)


def _walk(draw, n, side, turns, start=None):
    """Points a pixel apart, [n, T] each, from turns [n, T]."""
    x0, y0 = (draw.uniform(n, 1) * side, draw.uniform(n, 1) * side) if start is None else start
    angle = turns.cumsum(1)
    return x0 + angle.cos().cumsum(1), y0 + angle.sin().cumsum(1)


def curve(draw, n, side, most=60):
    bend, width = (draw.uniform(n, 1) - 0.5) * 0.24, draw.between(n, 0.6, 1.6)
    turns = bend + (draw.uniform(n, most) - 0.5) * 0.3
    turns = torch.cat((draw.uniform(n, 1) * TURN + turns[:, :1], turns[:, 1:]), 1)
    xs, ys = _walk(draw, n, side, turns)
    length = 15 + 45 * draw.uniform(n, 1)
    return _strokes(xs, ys, torch.arange(most, device=draw.device) < length, width, side)


def jagged(draw, n, side, most=50):
    start = draw.uniform(n, 1) * side, draw.uniform(n, 1) * side
    angle, width, arms = draw.uniform(n, 1) * TURN, draw.between(n, 0.4, 1.1), (draw.uniform(n, 1) * 3).floor() + 1
    parts = []
    for arm in range(3):
        first = angle + arm * (1.2 + 1.8 * draw.uniform(n, 1))
        sharp = (draw.uniform(n, most) < 0.25) * (draw.uniform(n, most) - 0.5) * 1.6
        xs, ys = _walk(draw, n, side, torch.cat((first + sharp[:, :1], sharp[:, 1:]), 1), start)
        length = 12 + 38 * draw.uniform(n, 1)
        parts.append((xs, ys, (torch.arange(most, device=draw.device) < length) & (arms > arm)))
    return _strokes(*(torch.cat(part, 1) for part in zip(*parts)), width, side)


def speck(draw, n, side):
    x, y = grid(side, draw.device)
    cx, cy, radius = draw.between(n, 3, side - 3), draw.between(n, 3, side - 3), draw.between(n, 2, 4)
    flat, angle = draw.between(n, 0.5, 1), draw.between(n, 0, math.pi)
    cos, sin = angle.cos(), angle.sin()
    u, v = (x - cx) * cos + (y - cy) * sin, ((y - cy) * cos - (x - cx) * sin) / flat
    return (radius + 0.5 - torch.hypot(u, v)).clamp(0, 1)


def mottled(draw, n, side):
    x, y = grid(side, draw.device)
    cx, cy, radius = draw.between(n, 0, side), draw.between(n, 0, side), draw.between(n, 6, 18)
    return (2 * (1 - torch.hypot(x - cx, y - cy) / radius + 0.45 * lattice(draw, n, side, 4.0))).clamp(0, 1)


def stripe(draw, n, side):
    x, y = grid(side, draw.device)
    at, angle, width = draw.between(n, 0.1, 0.9) * side, draw.between(n, 0, math.pi), draw.between(n, 2, 7)
    return (-(((x - at) * angle.cos() + (y - at) * angle.sin()) ** 2) / (2 * width * width)).exp()


def rim(draw, n, side):
    x, y = grid(side, draw.device)
    cx, cy = draw.between(n, 4, side - 4), draw.between(n, 4, side - 4)
    radius, width = draw.between(n, 3, 10), draw.between(n, 0.8, 1.8)
    return (-((torch.hypot(x - cx, y - cy) - radius) ** 2) / (2 * width * width)).exp()


# --- what: (draw, pictures, mask, other) → pictures


def _each(field):
    return field.unsqueeze(1)


def _levels(draw, n, *bounds):
    return torch.cat([_each(draw.between(n, low, high)) for low, high in bounds], 1)


def tone(draw, p, mask, other):
    n = len(p)
    level = torch.where(draw.chance(n, 0.5) > 0, draw.between(n, 0, 0.35), draw.between(n, 0.65, 1))
    return p * 0.3 + _each(level) * 0.7


def dark(draw, p, mask, other):
    return p * _each(draw.between(len(p), 0.1, 0.5))


def tint(draw, p, mask, other):
    return (p * _levels(draw, len(p), (0.4, 1.3), (0.4, 1.2), (0.3, 1.1))).clamp(0, 1)


def noise(draw, p, mask, other):
    n, side = len(p), p.shape[-1]
    grain = torch.where(draw.chance(n, 0.5) > 0, white(draw, n, side), lattice(draw, n, side, 2.0))
    return (p + _each(draw.between(n, 0.03, 0.3) * grain)).clamp(0, 1)


def smear(draw, p, mask, other):
    radius = (draw.integer(len(p), 4) + 1).repeat_interleave(3, 0)
    return blur(p.flatten(0, 1), radius).view_as(p)


def replace(draw, p, mask, other):
    mean, deviation = p.mean((-2, -1), keepdim=True), p.std((-2, -1), correction=0, keepdim=True)
    return (mean + standardise(other) * deviation).clamp(0, 1)


def shuffled(draw, p, mask, other):
    n, _, side, _ = p.shape
    reach = draw.integer(n, 4) + 1
    x, y = grid(side, draw.device)
    moved = lambda axis: (axis + (draw.uniform(n, side, side) * (2 * reach + 1)).floor() - reach).clamp(0, side - 1)  # noqa: E731
    at = (moved(y) * side + moved(x)).long().flatten(1).unsqueeze(1).expand(-1, 3, -1)
    return p.flatten(2).gather(2, at).view_as(p)


def dent(draw, p, mask, other):
    n, _, side, _ = p.shape
    angle, depth = draw.between(n, 0, TURN), draw.between(n, 0.8, 2.5)
    dx, dy = (2 * angle.cos()).round(), (2 * angle.sin()).round()
    height = blur(mask, 2).flatten(1)
    x, y = grid(side, draw.device)
    at = lambda i, j: height.gather(1, (j.clamp(0, side - 1) * side + i.clamp(0, side - 1)).long().flatten(1)).view(n, side, side)  # noqa: E731
    return (p + _each(depth * (at(x + dx, y + dy) - at(x - dx, y - dy)))).clamp(0, 1)


def crevice(draw, p, mask, other):
    return p * _each(draw.between(len(p), 0.1, 0.6))


def rust(draw, p, mask, other):
    n, side = len(p), p.shape[-1]
    colour = _levels(draw, n, (1, 1), (0.5, 0.75), (0.2, 0.5)) * _each(draw.between(n, 0.25, 0.5))
    return (0.3 * p + 0.7 * colour * _each(1 + 0.3 * lattice(draw, n, side, 2.5))).clamp(0, 1)


def wear(draw, p, mask, other):
    n = len(p)
    kept, shift = _each(draw.between(n, 0.1, 0.6)), _each(draw.between(n, -0.12, 0.12))
    flat = blur(p.flatten(0, 1), 4).view_as(p)
    return (flat * (1 - kept) + p * kept + shift).clamp(0, 1)


#: In the order of defect.ts.
DEFECTS = {
    "scratch": (line, tone), "hole": (blob, dark), "stain": (soft_blob, tint), "local noise": (blob, noise), "smear": (blob, smear),
    "changed texture": (blob, replace), "shuffled": (blob, shuffled), "contamination": (curve, tone), "dent": (soft_blob, dent),
    "crack": (jagged, crevice), "corrosion": (mottled, rust), "speck": (speck, tone), "worn spot": (soft_blob, wear),
    "streak": (stripe, tint), "bubble": (rim, tone),
}  # fmt: skip


def paint(draw, pictures, name, other):
    """→ pictures with that defect, and its masks."""
    shape, change = DEFECTS[name]
    mask = shape(draw, len(pictures), pictures.shape[-1])
    changed = change(draw, pictures, mask, other)
    return pictures + _each(mask) * (changed - pictures), mask
