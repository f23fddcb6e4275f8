"""How well a model tells on generated surfaces of a seed it was not trained on, overall, by family and by flaw:

    python -m kenpin_torch.measure --job job.json --model out/model.safetensors --surfaces 8000 --seed 7 --out figures.json

In: the job the model was trained by (its captions, words and token layers). Out: AUROC of the whole picture and of patches by words;
with an episode's four references of patches, of whole frames with a flaw, and of products made otherwise.
"""
import argparse
import dataclasses
import json
import pathlib

import torch

from . import losses
from .episodes import EpisodePool
from .generator import CHANGED, ROLES
from .job import read_job
from .model import load
from .ranks import Ranks
from .reference_loss import REFERENCES, against_references, reference_distances
from .towers import embed_text, embed_tokens

BATCH = 2000


def auroc(scores, labels):
    """Chance that one of label 1 scores above one of label 0; ties count half. None where a label is missing."""
    scores, labels = scores.double().flatten(), labels.flatten().bool()
    bad, good = scores[labels].sort().values, scores[~labels].sort().values
    if len(bad) == 0 or len(good) == 0:
        return None
    below = torch.searchsorted(good, bad, right=False) + torch.searchsorted(good, bad, right=True)
    return round(float(below.double().mean() / 2 / len(good)), 4)


@torch.no_grad()
def measure(job, model, pool, *, dtype):
    device = pool.ranks.device
    options = {"dtype": dtype, "attention": job.attention}
    words = torch.tensor([*job.words["good"], *job.words["bad"]], device=device)
    direction = losses.directions(embed_text(model.text, words, **options), len(job.words["good"]))
    rows = []
    for draw in range(len(pool) // pool.per_batch):
        batch = pool.read(draw, 1.0)
        images, patches, tokens = embed_tokens(model.visual.trunk, batch["pixel_values"], job.recipe["tokenLayers"], **options)
        far = reference_distances(tokens.view(-1, len(ROLES), *tokens.shape[1:]), 1)
        by_patch, top, whole = (value.flatten(0, 1) for value in against_references(far))
        own = pool._rows(draw).to(device)
        material = pool.material[own].repeat_interleave(len(ROLES))
        rows.append((images @ direction, patches @ direction, by_patch, top, whole, batch["flaw"], batch["patch_targets"], batch["patch_weights"], material))
    image, patch, by_patch, top, whole, flaw, target, weight, material = (torch.cat(column) for column in zip(*rows))
    role = torch.arange(len(flaw), device=device) % len(ROLES)
    bad, judged = flaw >= 0, role >= REFERENCES
    frame = (image + patch.topk(2, dim=1).values.mean(1)) / 2

    def of(rows):
        sure, seen = (weight > 0) & rows[:, None], (weight > 0) & (rows & judged & (role != CHANGED))[:, None]
        asked = rows & judged
        return {
            "image": auroc(image[rows], bad[rows]),
            "frame": auroc(frame[rows], bad[rows]),
            "patches": auroc(patch[sure], target[sure]),
            "references": {
                "patches": auroc(by_patch[seen], target[seen]),
                "frame": auroc(top[asked & (role != CHANGED)], bad[asked & (role != CHANGED)]),
                "changed": auroc(whole[asked & ~bad], role[asked & ~bad] == CHANGED),
            },
        }

    everything = torch.ones_like(bad)
    names, flaws = pool.table.materials, pool.table.flaws
    good = ~bad
    return {
        **of(everything),
        "pictures": len(flaw),
        "byFamily": {names[i]: of(material == i) for i in material.unique().tolist()},
        "byFlaw": {
            flaws[i]: {
                "frame": auroc(frame[good | (flaw == i)], bad[good | (flaw == i)]),
                "patches": auroc(patch[((good | (flaw == i))[:, None] & (weight > 0))], target[((good | (flaw == i))[:, None] & (weight > 0))]),
                "references": auroc(top[judged & (role != CHANGED) & (good | (flaw == i))], bad[judged & (role != CHANGED) & (good | (flaw == i))]),
            }
            for i in flaw[bad].unique().tolist()
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--surfaces", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default="", help="families, with commas between; without it those the job draws")
    parser.add_argument("--out", required=True)
    asked = parser.parse_args()
    job = read_job(asked.job)
    ranks = Ranks(job.device)
    own = dict(job.data["generated"])
    job = dataclasses.replace(job, stage="train", recipe={**job.recipe, "batch": BATCH if asked.surfaces >= BATCH else asked.surfaces})
    if asked.only:
        kept = asked.only.split(",")
        own["without"] = [name for name in json.loads(pathlib.Path(own["captions"]).read_text())["materials"] if name not in kept]
    pool = EpisodePool({**own, "seed": asked.seed, "surfaces": asked.surfaces}, job, ranks)
    model = load(job.config, asked.model)[0].to(ranks.device).eval()
    figures = measure(job, model, pool, dtype=torch.bfloat16 if job.precision == "bf16" else torch.float32)
    pathlib.Path(asked.out).write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps({key: figures[key] for key in ("image", "frame", "patches", "references")}))


if __name__ == "__main__":
    main()
