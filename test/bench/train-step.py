"""One side of test/bench/train-step.ts: the same model, batch and optimizer in PyTorch, eager and in float32.

In: a configuration's file, the batch, how many patches stay (0: all), and the number of threads. For each line on stdin, a
number of steps, one line of JSON on stdout: milliseconds of each step, and of forward, backward and optimizer.
"""
import json
import pathlib
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from timm.optim import Lamb

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "cloud-trainer/torch"))
from kenpin_torch.model import build


class Kept(torch.nn.Module):
    """In the place of timm's PatchDropoutWithIndices: the patches that stay are given."""

    def __init__(self, batch, patches, stay):
        super().__init__()
        self.kept = torch.stack([torch.randperm(patches)[:stay] for _ in range(batch)])

    def forward(self, x):
        body = x[:, 1:].gather(1, self.kept[:, :, None].expand(-1, -1, x.shape[2]))
        return torch.cat([x[:, :1], body], 1), self.kept


def main():
    config, batch, stay, threads = json.loads(pathlib.Path(sys.argv[1]).read_text()), *map(int, sys.argv[2:5])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build(config).train()
    size, context, vocabulary = config["image"]["size"], config["text"]["context"], 514 + config["text"]["merges"]
    if stay:
        model.visual.trunk.patch_drop = Kept(batch, (size // config["image"]["patch"]) ** 2, stay)
    pixels = torch.randn(batch, 3, size, size)
    ids = torch.randint(0, vocabulary - 2, (batch, context))
    ids[:, -1] = vocabulary - 1
    own = torch.arange(batch)
    plain = [p for name, p in model.named_parameters() if p.ndim <= 1 or name.endswith(("pos_embed", "positional_embedding", "cls_token"))]
    decayed = [p for p in model.parameters() if not any(p is q for q in plain)]
    groups = [dict(params=decayed, weight_decay=0.05), dict(params=plain, weight_decay=0.0)]
    optimizer = Lamb(groups, lr=1e-3, betas=(0.9, 0.98), eps=1e-6, max_grad_norm=1.0)
    print(json.dumps(dict(side="torch", version=torch.__version__)), flush=True)
    for line in sys.stdin:
        rows = []
        for _ in range(int(line)):
            began = time.perf_counter()
            images = F.normalize(model.visual.trunk(pixels), dim=-1)
            texts = F.normalize(model.encode_text(ids), dim=-1)
            logits = model.logit_scale.exp() * images @ texts.T
            loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
            forward = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            backward = time.perf_counter()
            optimizer.step()
            value = loss.item()
            rows.append([1000 * (t - began) for t in (forward, backward, time.perf_counter())])
        steps = [row[2] for row in rows]
        parts = [statistics.median(column) for column in zip(*[(a, b - a, c - b) for a, b, c in rows])]
        print(json.dumps(dict(steps=steps, parts=parts, loss=value)), flush=True)


main()
