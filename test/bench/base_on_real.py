"""One look of a model at the real inspection sets, by rules that were fixed before: what a device would do, and what its features hold.

    KENPIN_DATA=… python test/bench/base_on_real.py --weights cloud-trainer/base --out test/bench/results/base/NAME.json

In: a weights' folder (config.json, scoring.json, model.safetensors) and folders in MVTec layout. Nothing is trained on but a logistic
regression, on the published protocol's exemplars. Out: for each set
    words       AUROC, no picture of the set used: half the mean of the hottest 0.2 % of patches, half the tiles' mean image logit
    references  AUROC with 20 good pictures, mean of seeds: the bank's mean and top distance in deviations of the references, the larger
    frozen      accuracy and AUROC of a logistic regression on pooled features of all layers, mean of seeds
Controls: --random draws the weights; plain features are the TypeScript baseline's (kenpin evaluate prints them).
"""
import argparse
import json
import os
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "cloud-trainer/torch"))

from kenpin_torch import losses  # noqa: E402
from kenpin_torch.model import build, load  # noqa: E402
from kenpin_torch.towers import embed_text, embed_tokens  # noqa: E402

OPTIONS = {"dtype": torch.float32, "attention": "sdpa"}
OVERLAP, TOP, BANK, KEPT, CANDIDATES = 8, 0.002, 768, 1024, 6000
#: Exemplars of each label, as published (see the sets' own README).
EXEMPLARS = {"textile": 50, "extrusion": 50, "microstructure": 36}
TEST_EACH = {"textile": 50, "extrusion": 100, "microstructure": 225}


def starts(length, tile):
    count = 1 if length <= tile else -(-(length - OVERLAP) // (tile - OVERLAP))
    return [0] if count == 1 else [round(i * (length - tile) / (count - 1)) for i in range(count)]


def tiles_of(path, config):
    side = config["image"]["size"]
    image = Image.open(path).convert("RGB")
    if min(image.size) < side:
        scale = side / min(image.size)
        image = image.resize((max(side, round(image.width * scale)), max(side, round(image.height * scale))), Image.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32) / 255
    mean, std = (np.asarray(config["preprocess"][key], dtype=np.float32) for key in ("mean", "std"))
    pixels = torch.from_numpy(((pixels - mean) / std).transpose(2, 0, 1).copy())
    return torch.stack([pixels[:, y : y + side, x : x + side] for y in starts(image.height, side) for x in starts(image.width, side)])


def mean_of_top(values, ratio):
    return values.sort().values[-max(1, round(len(values) * ratio)) :].mean()


@torch.no_grad()
def look(model, config, layers, direction, path):
    tiles = tiles_of(path, config)
    parts = [embed_tokens(model.visual.trunk, part, layers, **OPTIONS) for part in tiles.split(64)]
    images, patches, tokens = (torch.cat(column) for column in zip(*parts))
    heat = (patches @ direction.T).flatten(0, 1)  # [n, rules]
    words = [float(0.5 * mean_of_top(heat[:, i], TOP) + 0.5 * (images @ direction[i]).mean()) for i in range(len(direction))]
    tokens, patches = tokens.flatten(0, 1), patches.flatten(0, 1)
    pooled = [images.mean(0)] + [f(part) for part in (tokens, patches) for f in (lambda t: t.mean(0), lambda t: t.std(0), lambda t: t.amax(0), lambda t: t.amin(0))]
    return {"words": words, "tokens": tokens.half(), "pooled": torch.cat(pooled).numpy()}


def coreset(rows, limit):
    nearest = torch.full((len(rows),), float("inf"))
    picked, pick = [], 0
    for _ in range(min(limit, len(rows))):
        picked.append(pick)
        nearest = torch.minimum(nearest, 1 - rows @ rows[pick])
        nearest[pick] = -1
        pick = int(nearest.argmax())
    return rows[picked]


def bank_of(frames, generator):
    share = max(1, CANDIDATES // len(frames))
    return coreset(torch.cat([t[torch.randperm(len(t), generator=generator)[: min(share, KEPT)]] for t in frames]).float(), BANK)


def distances(tokens, bank):
    return (1 - (tokens.float() @ bank.T).amax(1)).clamp(min=0)


def with_references(looks, labels, seed, count=20, folds=5):
    generator = torch.Generator().manual_seed(seed)
    good = [i for i, label in enumerate(labels) if label == "good"]
    chosen = [good[i] for i in torch.randperm(len(good), generator=generator)[:count].tolist()]
    summary = lambda far: (float(far.mean()), float(mean_of_top(far, TOP)))  # noqa: E731
    own = []
    for fold in range(folds):
        bank = bank_of([looks[i]["tokens"] for place, i in enumerate(chosen) if place % folds != fold], generator)
        own += [summary(distances(looks[i]["tokens"], bank)) for place, i in enumerate(chosen) if place % folds == fold]
    own = np.asarray(own)
    centre, spread = own.mean(0), own.std(0, ddof=1)
    bank = bank_of([looks[i]["tokens"] for i in chosen], generator)
    asked = [i for i in range(len(labels)) if i not in set(chosen)]
    z = (np.asarray([summary(distances(looks[i]["tokens"], bank)) for i in asked]) - centre) / spread
    return asked, z


def by_kind(labels, scores, positions):
    """AUROC of all defective pictures against the good ones, and of each kind."""
    labels, scores = np.asarray(labels)[positions], np.asarray(scores)
    kinds = sorted({label for label in labels if label != "good"})
    out = {"all": roc_auc_score(labels != "good", scores)}
    if len(kinds) < 5:
        for kind in kinds:
            rows = (labels == "good") | (labels == kind)
            out[kind] = roc_auc_score(labels[rows] != "good", scores[rows])
    return out


def mean_of(results):
    return {key: round(float(np.mean([result[key] for result in results])), 4) for key in results[0]}


def frozen(looks, labels, name, seed):
    random = np.random.default_rng(seed)
    labels = np.asarray(labels)
    good, bad = random.permutation(np.flatnonzero(labels == "good")), []
    queues = {kind: list(random.permutation(np.flatnonzero(labels == kind))) for kind in sorted(set(labels) - {"good"})}
    while any(queues.values()):
        for kind in random.permutation(list(queues)):
            if queues[kind]:
                bad.append(queues[kind].pop())
    bad, each = np.asarray(bad), EXEMPLARS[name]
    test = min(TEST_EACH[name], len(good) - each, len(bad) - each)
    train, asked = np.r_[good[:each], bad[:each]], np.r_[good[each : each + test], bad[each : each + test]]
    rows = np.stack([looks[i]["pooled"] for i in range(len(labels))])
    scaler = StandardScaler().fit(rows[train])
    model = LogisticRegression(C=0.01, max_iter=2000).fit(scaler.transform(rows[train]), labels[train] != "good")
    scores = model.predict_proba(scaler.transform(rows[asked]))[:, 1]
    truth = labels[asked] != "good"
    out = {"accuracy": float(((scores > 0.5) == truth).mean()), "auroc": roc_auc_score(truth, scores)}
    if name == "textile":
        for kind in ("local", "global"):
            keep = (labels[asked] == "good") | (labels[asked] == kind)
            out[kind] = roc_auc_score(truth[keep], scores[keep])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--model", help="another safetensors file than the folder's")
    parser.add_argument("--words", required=True, help="JSON {rule: {set or *: {good: [[ids]], bad: [[ids]]}}}, fixed before any look")
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--sets", default="textile,microstructure,extrusion")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)  # beside other work two wait for each other
    folder = pathlib.Path(asked.weights)
    config, layers = json.loads((folder / "config.json").read_text()), json.loads((folder / "scoring.json").read_text())["tokenLayers"]
    torch.manual_seed(1)
    model = build(config) if asked.random else load(config, asked.model or folder / "model.safetensors")[0]
    model.eval()
    rules, out = json.loads(pathlib.Path(asked.words).read_text()), {}
    for name in asked.sets.split(","):
        direction = []
        for rule in rules.values():
            words = rule.get(name, rule.get("*"))
            ids = torch.tensor([*words["good"], *words["bad"]])
            with torch.no_grad():
                direction.append(losses.directions(embed_text(model.text, ids, **OPTIONS), len(words["good"])))
        files = sorted((pathlib.Path(os.environ["KENPIN_DATA"]) / name).glob("*/*.*"))
        labels = [file.parent.name for file in files]
        looks = [look(model, config, layers, torch.stack(direction), file) for file in files]
        every = list(range(len(labels)))
        results = {"pictures": len(files), "words": {}, "references": {}, "frozen": {}}
        for i, rule in enumerate(rules):
            results["words"][rule] = mean_of([by_kind(labels, [one["words"][i] for one in looks], every)])
        runs = [with_references(looks, labels, seed) for seed in range(1, 4)]
        for part, of in (("larger", lambda z: z.max(1)), ("mean", lambda z: z[:, 0]), ("top", lambda z: z[:, 1])):
            results["references"][part] = mean_of([by_kind(labels, of(z), rows) for rows, z in runs])
        results["frozen"] = mean_of([frozen(looks, labels, name, seed) for seed in range(1, asked.seeds + 1)])
        out[name] = results
        print(name, json.dumps(results), flush=True)
    pathlib.Path(asked.out).write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
