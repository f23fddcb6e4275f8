"""Families of one surface without parts: fabrics, metals, coatings, bulk materials and grains."""
import math

import torch

from .family import count_of, family, ranges
from .fields import TURN, blur, grid, lattice, mix, smooth, standardise, step, turned, voronoi, white


# --- fabrics


def _woven(draw, n):
    base = ranges(warp=(2.5, 12), weft=(2.5, 12), angle=(-0.3, 0.3), twist=(0, 0.5), fuzz=(0.1, 0.6), wander=(0.1, 0.8))(draw, n)
    return {**base, "twill": draw.chance(n, 0.3)}


@family("woven", _woven, look_alike_of="textile")
def woven(draw, c, side):
    n = count_of(c)
    bend = lattice(draw, n, side, 20.0) * c["wander"]
    phase = draw.uniform(n, 1, 1) * 100
    x, y = turned(side, c["angle"])
    u, v = (x + phase + bend) / c["warp"] * math.pi, (y + phase + bend) / c["weft"] * math.pi
    over = torch.where(torch.where(c["twill"] > 0, (u + v).sin(), u.sin() * v.sin()) > 0, 1.0, -1.0)
    threads = u.sin().abs() * (1 + over) + v.sin().abs() * (1 - over) + c["twist"] * (u * 3 + v * 3).sin()
    return standardise(mix(standardise(threads), white(draw, n, side), c["fuzz"] * 0.5)), None


@family("knitted", ranges(column=(6, 14), row=(4, 10), slope=(0.5, 1.5), fuzz=(0.05, 0.35)))
def knitted(draw, c, side):
    n = count_of(c)
    x, y = grid(side, draw.device)
    phase = draw.uniform(n, 1, 1) * 100
    inside = (((x + phase) / c["column"]) % 1 - 0.5).abs() * 2
    loops = ((y + phase + c["slope"] * inside * c["row"]) / c["row"] * TURN).sin() + 0.5 * (inside * math.pi).cos()
    return standardise(mix(standardise(loops), blur(white(draw, n, side), 1), c["fuzz"])), None


def _random_field(draw, n):
    weights = [draw.between(n, 0, 0.7), draw.between(n, 0, 1), draw.between(n, -0.5, 1), draw.between(n, -0.5, 1)]
    radii = [draw.integer(n, 1) + 1, draw.integer(n, 2) + 2, draw.integer(n, 4) + 4]
    stretch = torch.where(draw.chance(n, 0.4) > 0, draw.between(n, 0.3, 0.7), 0.0)
    named = {f"weight{i}": value for i, value in enumerate(weights)} | {f"radius{i}": value for i, value in enumerate(radii)}
    return {**named, "stretch": stretch, **ranges(cell_x=(2, 12), cell_y=(1.5, 3), angle=(0, math.pi))(draw, n)}


@family("random field", _random_field, look_alike_of="textile")
def random_field(draw, c, side):
    n = count_of(c)
    total = white(draw, n, side) * c["weight0"]
    for i in range(3):
        total = total + c[f"weight{i + 1}"] * standardise(blur(white(draw, n, side), c[f"radius{i}"]))
    drawn_out = lattice(draw, n, side, c["cell_x"], c["cell_y"], c["angle"])
    return standardise(mix(standardise(total), drawn_out, c["stretch"])), None


# --- metals


@family("brushed", ranges(length=(25, 80), width=(1, 2.5), angle=(0, math.pi), grain=(0.05, 0.2)))
def brushed(draw, c, side):
    n = count_of(c)
    return standardise(mix(lattice(draw, n, side, c["length"], c["width"], c["angle"]), white(draw, n, side), c["grain"])), None


@family("cast", ranges(coarse=(6, 20), fine=(2, 4), grain=(0.2, 0.6)))
def cast(draw, c, side):
    n = count_of(c)
    return standardise(mix(lattice(draw, n, side, c["coarse"]), lattice(draw, n, side, c["fine"]), c["grain"])), None


@family("machined", ranges(pitch=(2.5, 8), radius=(60, 400), wobble=(0, 0.4), towards=(0, TURN)))
def machined(draw, c, side):
    n = count_of(c)
    x, y = grid(side, draw.device)
    noise = lattice(draw, n, side, 15.0)
    phase = draw.uniform(n, 1, 1) * c["pitch"]
    away = torch.hypot(x - side / 2 - c["radius"] * c["towards"].cos(), y - side / 2 - c["radius"] * c["towards"].sin())
    marks = (((away + phase) / c["pitch"] + c["wobble"] * noise) * TURN).sin()
    return standardise(mix(marks, white(draw, n, side), 0.2)), None


def _perforated(draw, n):
    return {**ranges(pitch=(7, 20), share=(0.22, 0.4), angle=(0, math.pi), grain=(2, 8))(draw, n), "shifted": draw.chance(n, 0.5) * 0.5}


@family("perforated", _perforated)
def perforated(draw, c, side):
    n = count_of(c)
    x, y = turned(side, c["angle"])
    v = (y + draw.uniform(n, 1, 1) * 100) / c["pitch"] + 50
    u = (x + draw.uniform(n, 1, 1) * 100) / c["pitch"] + c["shifted"] * (v.floor() % 2) + 50
    holes = step(c["share"] * c["pitch"] - c["pitch"] * torch.hypot(u % 1 - 0.5, v % 1 - 0.5))
    return standardise(mix(lattice(draw, n, side, c["grain"]), white(draw, n, side), 0.3)), holes


# --- coatings and bulk materials


@family("wood", ranges(ring=(5, 16), angle=(0, math.pi), knot=(0.5, 3)))
def wood(draw, c, side):
    n = count_of(c)
    warp, fibre = lattice(draw, n, side, 60.0, 18.0, c["angle"]), lattice(draw, n, side, 30.0, 1.5, c["angle"])
    rings = ((turned(side, c["angle"])[1] / c["ring"] + c["knot"] * warp) * TURN).sin()
    return standardise(mix(standardise(rings), fibre, 0.35)), None


@family("printed", ranges(pitch=(3, 9), angle=(0, math.pi), ink=(-0.6, 0.6)))
def printed(draw, c, side):
    n = count_of(c)
    x, y = turned(side, c["angle"])
    tone, phase = lattice(draw, n, side, 40.0), draw.uniform(n, 1, 1) * 50
    u, v = (((axis + phase) / c["pitch"] * TURN).cos() for axis in (x, y))
    return standardise(mix((4 * (u + v + c["ink"] + 0.4 * tone)).tanh(), white(draw, n, side), 0.1)), None


@family("painted", ranges(peel=(4, 12), grain=(0.1, 0.7)))
def painted(draw, c, side):
    n = count_of(c)
    return standardise(mix(lattice(draw, n, side, c["peel"]), white(draw, n, side), c["grain"])), None


@family("moulded", ranges(cell=(3, 12), sharp=(1, 5), grain=(0, 0.3), depth=(0.3, 1)))
def moulded(draw, c, side):
    n = count_of(c)
    cells = (c["sharp"] * lattice(draw, n, side, c["cell"]).abs()).tanh()
    return standardise(mix(standardise(cells), white(draw, n, side), c["grain"])) * c["depth"], None


@family("glass", ranges(cell=(25, 70), streak=(0, 0.5), angle=(0, math.pi), depth=(0.08, 0.35)))
def glass(draw, c, side):
    n = count_of(c)
    haze = lattice(draw, n, side, c["cell"])
    return standardise(mix(haze, lattice(draw, n, side, 60.0, 6.0, c["angle"]), c["streak"])) * c["depth"], None


@family("ceramic", ranges(dot=(1.5, 4), cut=(0.9, 1.5), ground=(0.1, 0.6), depth=(0.3, 1)))
def ceramic(draw, c, side):
    n = count_of(c)
    dots = (6 * (lattice(draw, n, side, c["dot"]) - c["cut"]).clamp(min=0)).tanh()
    return standardise(mix(standardise(dots), lattice(draw, n, side, 30.0), c["ground"])) * c["depth"], None


@family("concrete", ranges(coarse=(12, 30), pores=(3, 7), cut=(0.8, 1.4), grain=(0.2, 0.5)))
def concrete(draw, c, side):
    n = count_of(c)
    hills = lattice(draw, n, side, c["coarse"])
    pits = -2 * (4 * (lattice(draw, n, side, c["pores"]) - c["cut"]).clamp(min=0)).tanh()
    return standardise(mix(hills * 0.6 + pits, white(draw, n, side), c["grain"])), None


# --- grains


def _granular(draw, n):
    return {"cell": draw.between(n, 4, 14), "edge": draw.chance(n, 0.5)}


@family("granular", _granular)
def granular(draw, c, side):
    gap, tone = voronoi(draw, count_of(c), side, c["cell"], c["cell"])
    return standardise(torch.where(c["edge"] > 0, gap.clamp(max=1.5) + tone * 0.2, tone)), None


def _grain_map(draw, n):
    cell, aspect = 4 * 7 ** draw.uniform(n, 1, 1), draw.between(n, 0.75, 1.33)
    edge = torch.where(draw.chance(n, 0.5) > 0, draw.between(n, 0.3, 1.5), 0.0)
    return {"cell_x": cell * aspect, "cell_y": cell / aspect, "edge": edge, "tinted": draw.chance(n, 0.5), "grown": torch.zeros_like(cell)}


def _resized(draw, c):
    factor = draw.between(count_of(c), 1.6, 3.5) ** draw.sign(count_of(c))
    return {**c, "cell_x": (c["cell_x"] * factor).clamp(min=2.5), "cell_y": (c["cell_y"] * factor).clamp(min=2.5)}


def _grain_band(draw, c, side):
    n = count_of(c)
    width, at = draw.between(n, 8, 40), draw.between(n, 0.1, 0.9) * side
    angle = draw.between(n, 0, math.pi)
    x, y = grid(side, draw.device)
    return _resized(draw, c), smooth(width / 2 - ((x - at) * angle.cos() + (y - at) * angle.sin()).abs())


def _mixed_grain(draw, c, side):
    n = count_of(c)
    return _resized(draw, c), smooth(8 * (lattice(draw, n, side, draw.between(n, 12, 30)) - draw.between(n, -0.3, 0.5)))


def _large_crystal(draw, c, side):
    n = count_of(c)
    x, y = grid(side, draw.device)
    cx, cy, radius = draw.between(n, 0, side), draw.between(n, 0, side), draw.between(n, 12, 45)
    edge = lattice(draw, n, side, 14.0)
    return {**c, "grown": torch.ones_like(c["grown"])}, smooth(radius * (1 + 0.25 * edge) - torch.hypot(x - cx, y - cy))


@family("grain map", _grain_map, flaws={"grain band": _grain_band, "mixed grain": _mixed_grain, "large crystal": _large_crystal}, look_alike_of="microstructure")
def grain_map(draw, c, side):
    wide = torch.full_like(c["cell_x"], 4.0 * side)
    grown = c["grown"] > 0
    gap, tone = voronoi(draw, count_of(c), side, torch.where(grown, wide, c["cell_x"]), torch.where(grown, wide, c["cell_y"]))
    height = tone - c["edge"] * (-gap).exp()
    return torch.where(grown, height, standardise(height)), torch.where(c["tinted"] > 0, 0.5 + 0.5 * (1.5 * tone).tanh(), 0.0)
