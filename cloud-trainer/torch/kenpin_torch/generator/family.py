"""A family of generated surfaces or products, drawn many at a time: those of src/samples/surfaces/, names and constants are theirs.

    draw(draw, n) → constants {name: [n, …]}        pose(draw, constants) → how each piece lies before the camera
    render(draw, constants, side) → height, coat    flaws: {name: spoil(draw, constants, side) → (constants made wrongly, mask)}
"""
from dataclasses import dataclass, field
from typing import Callable


@dataclass
class Family:
    name: str
    draw: Callable
    render: Callable
    pose: Callable | None = None
    flaws: dict = field(default_factory=dict)
    look_alike_of: str | None = None


FAMILIES = {}


def family(name, draw, pose=None, flaws=None, look_alike_of=None):
    def register(render):
        FAMILIES[name] = Family(name, draw, render, pose, flaws or {}, look_alike_of)
        return render

    return register


def ranges(**named):
    """Constants that are each uniform in a range."""
    return lambda draw, n: {name: draw.between(n, *bounds) for name, bounds in named.items()}


def count_of(constants):
    return len(next(iter(constants.values())))
