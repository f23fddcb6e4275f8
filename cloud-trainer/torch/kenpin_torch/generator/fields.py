"""Scalar fields on square grids, many at once: [n, S, S], most with mean 0 and deviation near 1. As src/samples/field.ts makes them,
one by one; the numbers drawn differ, their statistics do not. Constants are [n, 1, 1], one a picture."""
import math

import torch
import torch.nn.functional as F

#: Values of a lattice either way, after which it repeats; wider than a picture for all cells of a pixel or more.
LATTICE = 96
#: Cells of a Voronoi diagram either way: enough for cells of 2.5 pixels.
CELLS = 36


class Draw:
    """Random numbers on the device that draws."""

    def __init__(self, seed, device):
        self.device = torch.device(device)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def uniform(self, *shape):
        return torch.rand(shape, device=self.device, generator=self.generator)

    def normal(self, *shape):
        return torch.randn(shape, device=self.device, generator=self.generator)

    def between(self, n, low, high):
        return low + (high - low) * self.uniform(n, 1, 1)

    def chance(self, n, share):
        """1.0 with that chance, else 0.0."""
        return (self.uniform(n, 1, 1) < share).float()

    def sign(self, n):
        return self.chance(n, 0.5) * 2 - 1

    def integer(self, n, count):
        return (self.uniform(n, 1, 1) * count).floor().clamp(max=count - 1)

    def order(self, n):
        return torch.randperm(n, device=self.device, generator=self.generator)


def grid(side, device):
    """x and y of every pixel, [1, S, S] each."""
    line = torch.arange(side, device=device, dtype=torch.float32)
    return line.expand(1, side, side), line.view(1, side, 1).expand(1, side, side)


def turned(side, angle):
    """x and y along axes turned by `angle`."""
    x, y = grid(side, angle.device)
    cos, sin = angle.cos(), angle.sin()
    return x * cos + y * sin, y * cos - x * sin


def white(draw, n, side):
    return draw.normal(n, side, side)


def lattice(draw, n, side, cell_x, cell_y=None, angle=None):
    """Random values on a lattice of cells, blended by a cubic."""
    cell_y = cell_x if cell_y is None else cell_y
    x, y = grid(side, draw.device) if angle is None else turned(side, angle)
    values = (draw.uniform(n, LATTICE * LATTICE) - 0.5) * 3.46
    offset = draw.uniform(n, 1, 1) * LATTICE + LATTICE
    u, v = x / cell_x + offset, y / cell_y + offset
    u0, v0 = u.floor(), v.floor()
    fu, fv = ease(u - u0), ease(v - v0)
    columns = [(u0 + i).long().remainder(LATTICE) for i in (0, 1)]
    rows = [(v0 + i).long().remainder(LATTICE) * LATTICE for i in (0, 1)]
    at = lambda row, column: values.gather(1, (row + column).expand(n, side, side).flatten(1)).view(n, side, side)  # noqa: E731
    top = at(rows[0], columns[0]).lerp(at(rows[0], columns[1]), fu.expand(n, side, side))
    bottom = at(rows[1], columns[0]).lerp(at(rows[1], columns[1]), fu.expand(n, side, side))
    return top.lerp(bottom, fv.expand(n, side, side))


def ease(t):
    return t * t * (3 - 2 * t)


def blur(field, radius):
    """Box blur of each picture's own radius [n, 1, 1], or of one for all, edges held."""
    if isinstance(radius, int):
        padded = F.pad(field.unsqueeze(1), (radius,) * 4, mode="replicate")
        return F.avg_pool2d(padded, 2 * radius + 1, 1).squeeze(1)
    return _blur_rows(_blur_rows(field, radius).transpose(1, 2), radius).transpose(1, 2)


def _blur_rows(field, radius, most=8):
    n, height, width = field.shape
    sums = F.pad(F.pad(field, (most, most), mode="replicate").double().cumsum(-1), (1, 0))
    place = torch.arange(width, device=field.device).view(1, 1, -1)
    at = lambda shift: sums.gather(2, (place + shift.long()).expand(n, height, width))  # noqa: E731
    return ((at(most + radius + 1) - at(most - radius)) / (2 * radius + 1)).float()


def standardise(field):
    mean = field.mean((-2, -1), keepdim=True)
    deviation = (field - mean).square().mean((-2, -1), keepdim=True).sqrt()
    return (field - mean) / torch.where(deviation > 1e-8, deviation, 1.0)


def mix(a, b, weight_of_b):
    return a + (b - a) * weight_of_b


def step(distance):
    return (distance + 0.5).clamp(0, 1)


def smooth(distance):
    return ease(((distance + 1) / 2).clamp(0, 1))


def voronoi(draw, n, side, cell_x, cell_y):
    """`gap` how much farther the second nearest point is than the nearest, in pixels; `tone` a normal number a cell."""
    x, y = grid(side, draw.device)
    left, top = draw.uniform(n, 1, 1), draw.uniform(n, 1, 1)
    place = torch.arange(CELLS * CELLS, device=draw.device).view(1, -1)
    px = (place % CELLS - 1 - left[..., 0] + draw.uniform(n, CELLS * CELLS)) * cell_x[..., 0]
    py = (place // CELLS - 1 - top[..., 0] + draw.uniform(n, CELLS * CELLS)) * cell_y[..., 0]
    tones = draw.normal(n, CELLS * CELLS)
    cx, cy = (x / cell_x + left).floor().long() + 1, (y / cell_y + top).floor().long() + 1
    first = torch.full((n, side, side), 1e9, device=draw.device)
    second, tone = first.clone(), torch.zeros_like(first)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            at = ((cy + dy).clamp(0, CELLS - 1) * CELLS + (cx + dx).clamp(0, CELLS - 1)).flatten(1)
            take = lambda values: values.gather(1, at).view(n, side, side)  # noqa: E731, B023
            away = (take(px) - x) ** 2 + (take(py) - y) ** 2
            nearer = away < first
            second = torch.where(nearer, first, torch.minimum(second, away))
            first, tone = torch.where(nearer, away, first), torch.where(nearer, take(tones), tone)
    return second.sqrt() - first.sqrt(), tone


TURN = 2 * math.pi
