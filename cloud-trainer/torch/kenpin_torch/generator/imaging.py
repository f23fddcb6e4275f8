"""From reliefs to pictures, as src/samples/imaging.ts and compress.ts do it: colours under one light, then light, lens, sensor and
compression, over good and bad alike."""
import math

import torch

from .fields import TURN, blur, grid, lattice, smooth, white

BLOCK = 8


def draw_look(draw, n):
    """Colours [n, 3, 1, 1] and contrast [n, 1, 1, 1] of surfaces under one light each."""
    brightness = draw.between(n, 0.25, 0.75)
    base = _tinted(draw, brightness, 0.18 * draw.chance(n, 0.5))
    apart = draw.between(n, 0.15, 0.5) * torch.where(brightness > 0.5, -1.0, 1.0)
    second = _tinted(draw, brightness + apart, 0.2 * draw.chance(n, 0.5))
    return {"base": base, "second": second, "contrast": draw.between(n, 0.03, 0.2).unsqueeze(1)}


def _tinted(draw, brightness, colour):
    spread = (draw.uniform(len(brightness), 3, 1, 1) * 2 - 1) * colour.unsqueeze(1)
    return brightness.unsqueeze(1) + spread


def again(draw, look):
    """The same light on another day."""
    n = len(look["base"])
    jitter = lambda by: draw.between(n, -by, by).unsqueeze(1)  # noqa: E731
    both = jitter(0.03)
    contrast = look["contrast"] * draw.between(n, 0.9, 1.1).unsqueeze(1)
    return {"base": look["base"] + both + jitter(0.015), "second": look["second"] + both + jitter(0.015), "contrast": contrast}


def shade(height, coat, look):
    rise = (look["second"] - look["base"]) * coat.unsqueeze(1)
    return (look["base"] + rise + look["contrast"] * height.unsqueeze(1)).clamp(0, 1)


def expose(draw, pictures):
    n, _, side, _ = pictures.shape
    light = lattice(draw, n, side, side * 1.5) * draw.between(n, 0, 0.12)
    seen = torch.where((draw.chance(n, 0.3) > 0).unsqueeze(1), blur(pictures.flatten(0, 1), 1).view_as(pictures), pictures)
    grain = white(draw, n, side) * draw.chance(n, 0.5) * draw.between(n, 0, 0.025)
    lit = seen * (_shadow(draw, n, side) * (1 + light)).unsqueeze(1) + (_glint(draw, n, side) + grain).unsqueeze(1)
    taken = lit.clamp(0, 1)
    squeezed = compress(taken, draw.between(n, 0.3, 2))
    return torch.where((draw.chance(n, 0.15) > 0).unsqueeze(1), squeezed, taken)


def _glint(draw, n, side):
    kind = draw.uniform(n, 1, 1)
    wide = kind < 0.14
    x, y = grid(side, draw.device)
    cx, cy, angle = draw.between(n, 0, side), draw.between(n, 0, side), draw.between(n, 0, math.pi)
    radius = torch.where(wide, draw.between(n, 16, 53), draw.between(n, 3, 9))
    stretch = torch.where(wide, 1.0, draw.between(n, 1, 5))
    cos, sin = angle.cos(), angle.sin()
    u, v = ((x - cx) * cos + (y - cy) * sin) / stretch, (y - cy) * cos - (x - cx) * sin
    return torch.where(kind <= 0.22, draw.between(n, 0.05, 0.25) * (-(u * u + v * v) / (2 * radius * radius)).exp(), 0.0)


def _shadow(draw, n, side):
    x, y = grid(side, draw.device)
    at, angle, soft = draw.between(n, 0.1, 0.9) * side, draw.between(n, 0, TURN), draw.between(n, 6, 20)
    depth = draw.between(n, 0.1, 0.35) * draw.chance(n, 0.1)
    return 1 - depth * smooth(((x - at) * angle.cos() + (y - at) * angle.sin()) / soft)


def compress(pictures, coarseness):
    """Each 8 × 8 block's cosine transform rounded in steps, brightness finer than colour; blocks that a side cuts off stay."""
    r, g, b = pictures.unbind(1)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    luma, cb, cr = _rounded(luma, coarseness), _rounded(b - luma, coarseness * 2), _rounded(r - luma, coarseness * 2)
    return torch.stack((luma + cr, luma - (0.299 * cr + 0.114 * cb) / 0.587, luma + cb), 1).clamp(0, 1)


def _rounded(planes, coarseness):
    n, side, _ = planes.shape
    whole = side // BLOCK * BLOCK
    line = torch.arange(BLOCK, device=planes.device, dtype=torch.float32)
    cosines = (math.pi * (2 * line + 1) * line[:, None] / (2 * BLOCK)).cos() * math.sqrt(2 / BLOCK)
    cosines[0] = math.sqrt(1 / BLOCK)
    blocks = planes[:, :whole, :whole].unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK)).transpose(2, 3)
    steps = coarseness[..., None, None] * (10 + 8 * (line + line[:, None])) / 255
    spectrum = ((cosines @ blocks @ cosines.T) / steps).round() * steps
    back = (cosines.T @ spectrum @ cosines).transpose(2, 3).reshape(n, whole, whole)
    out = planes.clone()
    out[:, :whole, :whole] = back
    return out
