"""Families of things that can be made wrongly: extruded beads, parts alone and assembled, circuit boards."""
import math

import torch

from .family import count_of, family, ranges
from .fields import TURN, grid, lattice, mix, smooth, standardise, step, white

OUTLINES = ("disc", "ring", "square", "hexagon", "cross", "bar")
PERIOD = 16


# --- beads


def _beads(draw, n):
    base = ranges(pitch=(7, 34), angle=(0, math.pi), fill=(0.98, 1.06), round=(0.5, 2), wobble=(0, 0.02), wave=(10, 30), layers=(0.05, 0.35))(draw, n)
    return {**base, "gaps": torch.full((n, 1, 1), -9.0, device=draw.device), "alone": draw.chance(n, 0.25), "offset": torch.zeros(n, 1, 1, device=draw.device)}


def _bead_pose(draw, c):
    n = count_of(c)
    return {**c, "offset": draw.uniform(n, 1, 1) * c["pitch"], "angle": c["angle"] + draw.between(n, -0.05, 0.05)}


def _stretch_of(draw, c, side):
    n = count_of(c)
    x, y = grid(side, draw.device)
    at, length = draw.between(n, -0.4, 0.4) * side, draw.between(n, 16, 50)
    along = ((x - side / 2) * c["angle"].cos() + (y - side / 2) * c["angle"].sin() - at).abs()
    return torch.where(draw.chance(n, 0.5) > 0, 1.0, smooth((length / 2 - along) / 2))


def _under_fill(draw, c, side):
    n = count_of(c)
    gaps = torch.where(draw.chance(n, 0.5) > 0, draw.between(n, -1.2, -0.2), -9.0)
    return {**c, "fill": c["fill"] * draw.between(n, 0.5, 0.85), "wobble": draw.between(n, 0.03, 0.12), "gaps": gaps}, _stretch_of(draw, c, side)


def _over_fill(draw, c, side):
    n = count_of(c)
    wrong = {"fill": c["fill"] * draw.between(n, 1.12, 1.5), "wobble": draw.between(n, 0.06, 0.2), "wave": draw.between(n, 6, 16)}
    return {**c, **wrong, "round": c["round"] * 0.5, "layers": c["layers"] + 0.3}, _stretch_of(draw, c, side)


@family("beads", _beads, pose=_bead_pose, flaws={"under-fill": _under_fill, "over-fill": _over_fill}, look_alike_of="extrusion")
def beads(draw, c, side):
    n = count_of(c)
    x, y = grid(side, draw.device)
    swell = lattice(draw, n, side, c["wave"], c["pitch"], c["angle"])
    breaks = lattice(draw, n, side, c["wave"] * 1.5, c["pitch"], c["angle"])
    lines = lattice(draw, n, side, 40.0, 1.5, c["angle"])
    v = ((y - side / 2) * c["angle"].cos() - (x - side / 2) * c["angle"].sin() + c["offset"]) / c["pitch"] + 0.5
    across = torch.where(c["alone"] > 0, v - 0.5, v - v.floor() - 0.5)
    width = c["fill"] + 3 * c["wobble"] * swell
    t = across.abs() / (width / 2).clamp(min=0.05)
    covered = smooth(c["pitch"] * width * (1 - t) / 2) * (1 - smooth(6 * (c["gaps"] - breaks)))
    profile = 2.4 * (1 - t * t).clamp(min=0) ** (c["round"] / 2) - 1.4 + c["layers"] * lines
    return covered * profile - (1 - covered) * 1.6, 1 - covered


# --- parts


def outline_distance(outline, u, v, radius):
    au, av, away = u.abs(), v.abs(), torch.hypot(u, v)
    kinds = [
        away - radius,
        torch.maximum(away - radius, radius * 0.45 - away),
        torch.maximum(au, av) - radius * 0.85,
        torch.maximum(au * 0.866 + av * 0.5, av) - radius * 0.9,
        torch.minimum(torch.maximum(au - radius, av - radius * 0.35), torch.maximum(av - radius, au - radius * 0.35)),
        torch.maximum(au - radius, av - radius * 0.45),
    ]
    out = torch.full_like(away, 99.0)
    for i, kind in enumerate(kinds):
        out = torch.where(outline == i, kind, out)
    return out


def _posed(c, side):
    """Every pixel's place in the posed part's own coordinates."""
    x, y = grid(side, c["turn"].device)
    dx, dy = x - side / 2, y - side / 2
    cos, sin = c["turn"].cos(), c["turn"].sin()
    return dx * cos + dy * sin + side / 2 - c["left"], dy * cos - dx * sin + side / 2 - c["top"]


def _assembly(draw, n):
    still = {name: torch.zeros(n, 1, 1, device=draw.device) for name in ("turn", "left", "top", "odd", "odd_column", "odd_row", "odd_u", "odd_v")}
    drawn = ranges(pitch=(17, 40), share=(0.2, 0.36), ground=(1.5, 12), rim=(0.3, 2))(draw, n)
    return {**still, **drawn, "outline": draw.integer(n, len(OUTLINES)), "odd_outline": still["odd"]}


def _assembly_pose(draw, c):
    n = count_of(c)
    return {**c, "turn": draw.between(n, -0.06, 0.06), "left": draw.between(n, -5, 5), "top": draw.between(n, -5, 5)}


def _some_slot(draw, c, side):
    return tuple((draw.between(count_of(c), 0.15 * side, 0.85 * side) / c["pitch"]).floor() for _ in range(2))


def _slot_mask(c, column, row, side, radius):
    x, y = _posed(c, side)
    return smooth(radius - torch.hypot(x - (column + 0.5) * c["pitch"], y - (row + 0.5) * c["pitch"]))


def _odd_part(reach, change):
    def spoil(draw, c, side):
        column, row = _some_slot(draw, c, side)
        radius = (c["share"] * 1.1 + reach).clamp(max=0.48) * c["pitch"]
        odd = {"odd": torch.ones_like(c["odd"]), "odd_column": column, "odd_row": row, "odd_outline": c["outline"]}
        return {**c, **odd, **change(draw, c)}, _slot_mask(c, column, row, side, radius)

    return spoil


def _misplaced(draw, c):
    n = count_of(c)
    angle, far = draw.between(n, 0, TURN), draw.between(n, 0.13, 0.22) * c["pitch"]
    return {"odd_u": far * angle.cos(), "odd_v": far * angle.sin()}


def _wrong(draw, c):
    return {"odd_outline": (c["outline"] + 1 + draw.integer(count_of(c), len(OUTLINES) - 1)) % len(OUTLINES)}


def _extra_part(draw, c, side):
    moved = {**c, "left": c["left"] + c["pitch"] / 2, "top": c["top"] + c["pitch"] / 2}
    column, row = _some_slot(draw, moved, side)
    return {**moved, "share": c["share"].clamp(max=0.22)}, _slot_mask(moved, column, row, side, 0.3 * c["pitch"])


_ASSEMBLY_FLAWS = {
    "missing part": _odd_part(0, lambda draw, c: {"odd_outline": torch.full_like(c["outline"], -1.0)}),
    "misplaced part": _odd_part(0.2, _misplaced),
    "wrong part": _odd_part(0, _wrong),
    "extra part": _extra_part,
}


@family("assembly", _assembly, pose=_assembly_pose, flaws=_ASSEMBLY_FLAWS)
def assembly(draw, c, side):
    n = count_of(c)
    floor = standardise(mix(lattice(draw, n, side, c["ground"]), white(draw, n, side), 0.4))
    x, y = _posed(c, side)
    column, row = (x / c["pitch"]).floor(), (y / c["pitch"]).floor()
    odd = (c["odd"] > 0) & (column == c["odd_column"]) & (row == c["odd_row"])
    u = x - (column + 0.5) * c["pitch"] - torch.where(odd, c["odd_u"], 0.0)
    v = y - (row + 0.5) * c["pitch"] - torch.where(odd, c["odd_v"], 0.0)
    away = outline_distance(torch.where(odd, c["odd_outline"], c["outline"]), u, v, c["share"] * c["pitch"])
    return 0.5 * floor + c["rim"] * (-away.abs() / 1.5).exp() * torch.where(away < 0, 1.0, -0.6), step(-away)


def _single_part(draw, n):
    still = {name: torch.zeros(n, 1, 1, device=draw.device) for name in ("turn", "left", "top", "bite", "bite_u", "bite_v", "bend")}
    drawn = ranges(radius=(16, 40), ground=(2, 20), finish=(1.2, 8), rim=(0.3, 2))(draw, n)
    return {**still, **drawn, "outline": draw.integer(n, len(OUTLINES))}


def _part_pose(draw, c):
    n = count_of(c)
    return {**c, "turn": draw.between(n, 0, TURN), "left": draw.between(n, -12, 12), "top": draw.between(n, -12, 12)}


def _edge_flaw(low, high, sign):
    def spoil(draw, c, side):
        n = count_of(c)
        angle, radius = draw.between(n, 0, TURN), draw.between(n, low, high)
        far = torch.arange(0, 61, device=draw.device).view(1, 1, -1) * c["radius"] / 40  # out to one and a half radii
        within = outline_distance(c["outline"], far * angle.cos(), far * angle.sin(), c["radius"]) <= 0
        edge = (far * within).amax(-1, keepdim=True)
        u, v = edge * angle.cos(), edge * angle.sin()
        x, y = _posed(c, side)
        mask = smooth(radius + 1.5 - torch.hypot(x - side / 2 - u, y - side / 2 - v))
        return {**c, "bite": sign * radius, "bite_u": u, "bite_v": v}, mask

    return spoil


def _deformed(draw, c, side):
    n = count_of(c)
    x, y = _posed(c, side)
    mask = smooth((c["radius"] * 1.35 - torch.hypot(x - side / 2, y - side / 2)) / 2)
    return {**c, "bend": draw.between(n, 0.1, 0.25) * draw.sign(n)}, mask


@family("single part", _single_part, pose=_part_pose, flaws={"chipped edge": _edge_flaw(3.5, 8, 1), "burr": _edge_flaw(2, 4.5, -1), "deformed": _deformed})
def single_part(draw, c, side):
    n = count_of(c)
    floor = lattice(draw, n, side, c["ground"])
    skin = mix(lattice(draw, n, side, c["finish"]), white(draw, n, side), 0.3)
    x, y = _posed(c, side)
    u, v = x - side / 2, y - side / 2
    away = outline_distance(c["outline"], u, v, c["radius"] * (1 + c["bend"] * (2 * torch.atan2(v, u)).sin()))
    far = torch.hypot(u - c["bite_u"], v - c["bite_v"]) - c["bite"].abs()
    away = torch.where(c["bite"] > 0, torch.maximum(away, -far), torch.where(c["bite"] < 0, torch.minimum(away, far), away))
    inside = step(-away)
    texture = floor * (1 - inside) + 0.7 * skin * inside
    return texture + c["rim"] * (-away.abs() / 1.5).exp() * torch.where(away < 0, 1.0, -0.6), inside


# --- circuit boards


def _circuit(draw, n):
    still = {name: torch.zeros(n, 1, 1, device=draw.device) for name in ("left", "top")}
    return {**still, **ranges(pitch=(8, 18), trace=(0.8, 2), pad=(1.5, 3.5), rim=(0.2, 1.2))(draw, n), "layout": draw.uniform(n, PERIOD * PERIOD * 3)}


def _circuit_pose(draw, c):
    n = count_of(c)
    return {**c, "left": draw.between(n, -4, 4), "top": draw.between(n, -4, 4)}


def _node(column, row):
    return ((row.long() % PERIOD) * PERIOD + column.long() % PERIOD) * 3


def _trace_flaw(becomes):
    def spoil(draw, c, side, tries=20):
        n = count_of(c)
        column, row = ((draw.uniform(n, tries) * 0.6 + 0.2).mul(side / c["pitch"][..., 0]).round() for _ in range(2))
        kind = (draw.uniform(n, tries) < 0.5).long()
        places = _node(column, row) + kind
        fits = (c["layout"].gather(1, places) < 0.5) == (becomes > 0.5)
        pick = fits.float().argmax(1, keepdim=True)
        place, kind = places.gather(1, pick), kind.gather(1, pick).unsqueeze(-1).float()
        column, row = column.gather(1, pick).unsqueeze(-1), row.gather(1, pick).unsqueeze(-1)
        layout = c["layout"].scatter(1, place, becomes)
        cx, cy = (column + 0.5 * (1 - kind)) * c["pitch"] + c["left"], (row + 0.5 * kind) * c["pitch"] + c["top"]
        along, beside = c["pitch"] * 0.45, c["trace"] + 1.5
        half_x, half_y = torch.where(kind == 0, along, beside), torch.where(kind == 0, beside, along)
        x, y = grid(side, draw.device)
        return {**c, "layout": layout}, smooth(torch.minimum(half_x - (x - cx).abs(), half_y - (y - cy).abs()))

    return spoil


@family("circuit", _circuit, pose=_circuit_pose, flaws={"open trace": _trace_flaw(0.9), "bridge": _trace_flaw(0.1)})
def circuit(draw, c, side):
    n = count_of(c)
    floor = standardise(mix(lattice(draw, n, side, 4.0), white(draw, n, side), 0.4))
    x, y = grid(side, draw.device)
    gx, gy = (x - c["left"]) / c["pitch"], (y - c["top"]) / c["pitch"]
    column, row = gx.round(), gy.round()
    u, v = (gx - column) * c["pitch"], (gy - row) * c["pitch"]
    has = lambda i, j, kind: (c["layout"].gather(1, (_node(i, j) + kind).flatten(1)) < 0.5).view(n, side, side)  # noqa: E731
    pad = torch.where(has(column, row, 2), torch.hypot(u, v) - c["pad"], 99.0)
    across = torch.where(torch.where(u >= 0, has(column, row, 0), has(column - 1, row, 0)), v.abs() - c["trace"], 99.0)
    down = torch.where(torch.where(v >= 0, has(column, row, 1), has(column, row - 1, 1)), u.abs() - c["trace"], 99.0)
    away = torch.minimum(pad, torch.minimum(across, down))
    return 0.6 * floor + c["rim"] * (-away.abs() / 1.2).exp(), step(-away)
