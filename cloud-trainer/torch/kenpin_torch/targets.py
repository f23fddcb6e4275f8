"""What masked image modelling predicts where no teacher's features are: histograms of oriented gradients of each patch, as
src/samples/masked-batch.ts makes them on the host (MaskFeat, arXiv 2112.09133). In: pixels [B, 3, S, S]. Out: [B, P, 27], length 1.
"""
import math

import torch
import torch.nn.functional as F

DIRECTIONS = 9


def hog(pixels, patch):
    """Directions are without sign, from 0 to pi; a gradient counts by its strength in its nearest direction."""
    padded = F.pad(pixels, (1, 1, 1, 1), mode="replicate")
    dx = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    dy = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    turn = (torch.atan2(dy, dx) / math.pi + 1) % 1
    direction = (turn * DIRECTIONS).floor().long() % DIRECTIONS
    strength = torch.hypot(dx, dy)
    bins = [F.avg_pool2d(strength * (direction == i), patch) * patch**2 for i in range(DIRECTIONS)]
    histogram = torch.stack(bins, 2).flatten(1, 2).flatten(2).transpose(1, 2)  # [B, P, channels x directions]
    return histogram / (histogram.norm(dim=-1, keepdim=True) + 1e-6)
