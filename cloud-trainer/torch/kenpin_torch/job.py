"""What the parent wants done: job.json, read once, and said clearly where it is wrong.

    stage      pretrain | train | tune | distill         recipe    that stage of the recipe, every default filled in
    config     the model's configuration                 weights   one safetensors with open_clip's names
    folder     the stage's: metrics, checkpoints, out/   data      {"batches": dir, "fed": bool} | {"shards": [dir…]} | {"surfaces": [dir…]}
                                                                  | {"generated": {"surfaces", "seed", "captions", "without"}}
    teacher    {"config", "weights"} for pretrain (or the length of the batch's own targets) and distill
    words      token ids of good and bad words           scoring   tune: topRatio and imageWeight
    precision  bf16 | float32                            compile, attention, device, seed, trainTokens
"""
import json
import pathlib
from dataclasses import dataclass, field, fields

STAGES = ("pretrain", "train", "tune", "distill")


class Refused(Exception):
    """Something the user can mend: one line, no trace."""


@dataclass
class Job:
    stage: str
    config: dict
    weights: str
    folder: str
    recipe: dict
    data: dict
    seed: int = 1
    words: dict = field(default_factory=dict)
    teacher: dict | None = None
    scoring: dict = field(default_factory=dict)
    precision: str = "bf16"
    compile: bool = False
    attention: str = "sdpa"
    device: str | None = None


def read_job(path):
    try:
        given = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as error:
        raise Refused(f"{path} cannot be read as JSON: {error}") from error
    known = {one.name for one in fields(Job)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise Refused(f"{path}: unknown field {unknown[0]}; known are {', '.join(sorted(known))}")
    try:
        job = Job(**given)
    except TypeError as error:
        raise Refused(f"{path}: {error}") from error
    if job.stage not in STAGES:
        raise Refused(f"{path}: stage is {job.stage!r}, expected one of {', '.join(STAGES)}")
    if job.precision not in ("bf16", "float32"):
        raise Refused(f"{path}: precision is {job.precision!r}, expected bf16 or float32")
    if job.attention not in ("sdpa", "cudnn", "plain"):
        raise Refused(f"{path}: attention is {job.attention!r}, expected sdpa, cudnn or plain")
    if not pathlib.Path(job.weights).is_file():
        raise Refused(f"the weights {job.weights} are not there")
    return job
