"""The base model from generated surfaces: the stage `train` of the recipe on a GPU.

    python -m kenpin_torch.base --shards DIR... --held DIR --out DIR --seconds 240

Loss: symmetric InfoNCE of pictures and distinct captions (a caption that is also true is no negative) + patch
cross-entropy on the masks, each patch held against mean bad words minus mean good words. LAMB from timm, with the
recipe's groups: the text tower at a tenth of the image tower's rate, no decay and a tenth of the rate for norms, biases and
positions (LAMB gives them no trust ratio, so a rate that suits matrices would throw them about). Prints JSON lines; writes
model.safetensors, config.json and card.json. Everything is chosen on surfaces held out of the same generator.
"""
import argparse
import json
import math
import pathlib
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.optim import Lamb

from .model import build, embed_images, embed_texts
from .surfaces import Surfaces

PATCH_LOSS_WEIGHT = 2.0
LOGIT_SCALE_LIMIT = math.log(100)
#: A patch touched by less than this share of a defect is good; by more than the second, defective; between, unsure.
UNTOUCHED, TOUCHED = 0.02, 0.25
TOUCHED_WEIGHT = 4.0


def say(**line):
    print(json.dumps(line), flush=True)


def no_decay(name, value):
    return value.ndim <= 1 or name.endswith(("pos_embed", "positional_embedding", "cls_token"))


def parameter_groups(model, bias, args):
    groups = {}
    for name, value in model.named_parameters():
        plain = no_decay(name, value)
        tower = args.text_rate if name.startswith("text.") else 1.0
        share = tower * (args.plain_rate if plain else 1.0)
        groups.setdefault((share, plain), []).append(value)
    rows = [dict(params=params, lr=args.rate * share, share=share, weight_decay=0.0 if plain else args.decay) for (share, plain), params in groups.items()]
    return rows + [dict(params=[bias], lr=args.rate, share=1.0, weight_decay=0.0)]


def contrast(images, captions, own, truths, scale):
    """InfoNCE over all distinct captions [C]; columns nobody in the batch was captioned with are only negatives."""
    logits = scale * images @ captions.T
    positive = F.one_hot(own, len(captions)).to(logits.dtype)
    logits = logits.masked_fill(truths & (positive == 0), -1e4)
    to_text = F.cross_entropy(logits, own)
    used = positive.sum(0) > 0
    share = positive / positive.sum(0, keepdim=True).clamp(min=1)
    to_image = -(logits.log_softmax(0) * share).sum(0)[used].mean()
    return (to_text + to_image) / 2


def directions(model, words):
    good, bad = (F.normalize(embed_texts(model, ids).mean(0), dim=-1) for ids in words)
    return bad - good


def patch_loss(logits, masks, patch):
    share = F.avg_pool2d(masks[:, None], patch).flatten(1)
    target = (share > TOUCHED).float()
    weight = torch.where(share > TOUCHED, TOUCHED_WEIGHT, (share < UNTOUCHED).float())
    return (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum() / weight.sum()


def auroc(scores, labels):
    order = scores.argsort()
    ranks = torch.empty_like(scores, dtype=torch.float64)
    ranks[order] = torch.arange(1, len(scores) + 1, device=scores.device, dtype=torch.float64)
    bad = labels.sum().item()
    return (ranks[labels].sum().item() - bad * (bad + 1) / 2) / (bad * (len(labels) - bad))


@torch.no_grad()
def judge(model, held, mean, std):
    """AUROC of words alone on surfaces no step has seen: by the class token, by the hottest patches, and per defect."""
    model.eval()
    difference = directions(model, held.words)
    images, tops = [], []
    for rows in torch.arange(len(held), device=difference.device).split(2048):
        with torch.autocast(difference.device.type, torch.bfloat16):
            image, patches = embed_images(model, (held.pictures[rows].float() / 255 - mean) / std)
        images.append(image @ difference)
        tops.append((patches @ difference).topk(3, dim=1).values.mean(1))
    model.train()
    images, tops = torch.cat(images), torch.cat(tops)
    bad = held.defect >= 0
    by_defect = {name: round(auroc(tops[~bad | (held.defect == i)], bad[~bad | (held.defect == i)]), 4) for i, name in enumerate(held.index["defects"])}
    return {"image": round(auroc(images, bad), 4), "patches": round(auroc(tops, bad), 4), "patchesByDefect": by_defect}


def name_of(device):
    return torch.cuda.get_device_name() if device.type == "cuda" else "cpu"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", nargs="+", required=True)
    parser.add_argument("--held", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--text-rate", type=float, default=0.1)
    parser.add_argument("--plain-rate", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    data, held = Surfaces(args.shards, device), Surfaces([args.held], device)
    config = data.index["model"]
    mean, std = (torch.tensor(config["preprocess"][key], device=device).view(3, 1, 1) for key in ("mean", "std"))
    model = build(config).to(device).train()
    bias = torch.nn.Parameter(torch.tensor(-2.0, device=device))
    optimizer = Lamb(parameter_groups(model, bias, args), lr=args.rate, betas=(0.9, 0.98), eps=1e-6, max_grad_norm=args.clip)
    generator = torch.Generator(device=device).manual_seed(args.seed)
    say(event="begin", surfaces=len(data), captions=len(data.ids), parameters=sum(p.numel() for p in model.parameters()), device=name_of(device))
    started, step, seen, order, curve = time.time(), 0, 0, torch.empty(0, dtype=torch.long, device=device), []
    while (elapsed := time.time() - started) < args.seconds:
        if len(order) < args.batch:
            order = torch.randperm(len(data), device=device, generator=generator)
        rows, order = order[: args.batch], order[args.batch :]
        pixels, masks, own = data.batch(rows, generator, mean, std)
        done = elapsed / args.seconds
        rate = args.rate * min((step + 1) / args.warmup, 0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]
        with torch.autocast(device.type, torch.bfloat16):
            images, patches = embed_images(model, pixels)
            captions = embed_texts(model, data.ids)
            difference = directions(model, data.words)
        scale = model.logit_scale.exp()
        by_words = contrast(images, captions, own, data.truths(rows), scale)
        by_masks = patch_loss(scale * patches @ difference + bias, masks, config["image"]["patch"])
        loss = by_words + PATCH_LOSS_WEIGHT * by_masks
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=LOGIT_SCALE_LIMIT)
        step, seen = step + 1, seen + len(rows)
        if step % 200 == 0:
            if not math.isfinite(loss.item()):
                raise SystemExit(f"the loss is {loss.item()} at step {step}; lower --rate")
            curve.append({"step": step, "contrast": round(by_words.item(), 4), "patch": round(by_masks.item(), 4)})
            say(event="step", **curve[-1], scale=round(scale.item(), 2), rate=round(rate, 6), imagesPerSecond=round(seen / (time.time() - started)))
    figures = {"steps": step, "samplesSeen": seen, "seconds": round(time.time() - started, 1), "device": name_of(device), "heldOut": judge(model, held, mean, std)}
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, args.out / "model.safetensors", metadata={"model": config["name"]})
    (args.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    recipe = {key: str(value) if isinstance(value, pathlib.Path) else value for key, value in vars(args).items() if key not in ("shards", "held", "out")}
    source = f"trained by kenpin's own code on {len(data)} captioned surfaces made by its own generator; no photograph, no other weights"
    provenance = [{"name": f"{config['name']} base", "licence": "Apache-2.0", "source": source}]
    card = {"name": f"{config['name']} base", "provenance": provenance, "recipe": {"engine": "torch", "optimizer": "lamb", **recipe, "patchLossWeight": PATCH_LOSS_WEIGHT}, "figures": figures, "patchBias": bias.item(), "curve": curve}
    (args.out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    say(event="end", **figures)


if __name__ == "__main__":
    main()
