"""The losses of all stages, as src/train/engines/tfjs/{losses,tune,distill}.ts has them, term by term.

Embeddings are float32 and of length 1; `positive` [B, T] has 1 where the caption was written for the picture, `blocked` where
another caption is also true of it. Without relations picture i belongs to caption i alone: open_clip's ClipLoss.
"""
import torch
import torch.nn.functional as F

from .tiled_loss import tiled_contrastive

#: Numbers in a table of logits that is still made whole (64 MiB in float32).
LARGEST_TABLE = 2**24


def contrastive(images, texts, scale, positive, blocked=None):
    if len(images) * len(texts) > LARGEST_TABLE:
        return tiled_contrastive(images, texts, scale, positive, blocked)
    positive = positive.float()
    logits = scale * images @ texts.T
    if blocked is not None:
        logits = logits - 1e4 * blocked.float()
    return (_one_way(logits, positive) + _one_way(logits.T, positive.T)) / 2


def _one_way(scores, target):
    share = target / target.sum(1, keepdim=True).clamp(min=1)
    return -(scores.log_softmax(1) * share).sum(1).mean()


def sigmoid(images, texts, scale, bias, positive, blocked=None):
    """SigLIP's (arXiv 2303.15343, algorithm 1): every pair a question of its own."""
    z = scale * images @ texts.T + bias
    pairs = F.softplus(z) - positive * z
    return (pairs if blocked is None else pairs * (1 - blocked)).sum() / len(images)


def directions(words, good):
    """Of [W, D] embeddings of words, the first `good` of them good ones: mean bad less mean good."""
    return F.normalize(words[good:].mean(0), dim=-1) - F.normalize(words[:good].mean(0), dim=-1)


def weighted_cross_entropy(logits, targets, weights):
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (loss * weights).sum() / weights.sum().clamp(min=1e-6)


def mean_of_top(rows, count):
    return rows.topk(count, dim=1).values.mean(1)


def tolerant_cross_entropy(logits, target, tolerance):
    """Generalized cross-entropy (arXiv 1805.07836), mean of (1 − p^q) / q; plain for q = 0."""
    surprise = F.softplus(logits * (1 - 2 * target))
    return surprise.mean() if tolerance == 0 else ((1 - torch.exp(-tolerance * surprise)) / tolerance).mean()


def bernoulli_divergence(student, teacher):
    """KL(teacher ‖ student) of two-way decisions given by logits, element by element."""
    told = teacher.sigmoid()
    yes = F.softplus(-student) - F.softplus(-teacher)
    no = F.softplus(student) - F.softplus(teacher)
    return told * yes + (1 - told) * no


def affinity(student, teacher, captions, scale):
    told, seen = (scale * rows @ captions.T for rows in (teacher, student))
    return (_divergence(told, seen) + _divergence(told.T, seen.T)) / 2


def _divergence(told, seen):
    p, q = told.log_softmax(1), seen.log_softmax(1)
    return (p.exp() * (p - q)).sum(1).mean()
