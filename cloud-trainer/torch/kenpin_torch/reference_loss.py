"""What makes the memory bank tell: in an episode, patches that no good reference shows must lie far from all of the references'
patches, the others near; and a product made otherwise must lie far as a whole. In: `patch_tokens` [B, P, D] of whole episodes, the
very rows that a device's bank holds, roles in the order of generator.ROLES, masks by patch. Out: a loss whose three parts are what a
device reads: each patch's distance, a frame's farthest patches, a frame's mean; each as a multiple of what the references' own are,
left out one at a time, since that is how a device measures them too.
"""
import torch
import torch.nn.functional as F

from .generator import CHANGED, ROLES

REFERENCES = ROLES.count("reference")
#: A frame's farthest patches.
TOP = 2
#: Windows over which a device may average tokens (token-window.ts).
WINDOWS = (1, 3)
#: Added to every distance, so that a tower that sees no difference yet has gradients of a sane size.
SOFTENING = 5e-3
SCALE_START, BIAS_START = (3.0, 3.0, 6.0), (-2.0, -2.0, -1.0)


def reference_distances(tokens, window):
    """[E, R, P]: how far each patch is from the nearest of the references', for a reference those of the others."""
    episodes, roles, patches, dim = tokens.shape
    if window > 1:
        side = round(patches**0.5)
        grid = tokens.reshape(episodes * roles, side, side, dim).permute(0, 3, 1, 2)
        mean = F.avg_pool2d(grid, window, 1, padding=window // 2, count_include_pad=False)
        tokens = F.normalize(mean.permute(0, 2, 3, 1).reshape(tokens.shape), dim=-1)
    bank = tokens[:, :REFERENCES].flatten(1, 2)
    nearest = _nearest(tokens, bank)
    found = bank.gather(1, nearest.flatten(1).unsqueeze(-1).expand(-1, -1, dim)).view(tokens.shape)
    return 1 - (tokens * found).sum(-1)


@torch.no_grad()
def _nearest(tokens, bank):
    """[E, R, P] rows of the bank; which one is nearest has no gradient, so the table of all pairs is not kept."""
    episodes, roles, patches, _ = tokens.shape
    exact = torch.float32 if tokens.device.type == "cpu" else torch.bfloat16
    near = (tokens.flatten(1, 2).to(exact) @ bank.transpose(1, 2).to(exact)).view(episodes, roles, patches, -1)
    for role in range(REFERENCES):
        near[:, role, :, role * patches : (role + 1) * patches] = -2
    return near.argmax(-1)


def reference_loss(tokens, flaw, targets, weights, scale, bias):
    """`tokens` [B, P, D], `flaw` [B], −1 for none, `targets` and `weights` [B, P], `scale` and `bias` [3] that are learned."""
    episode = lambda value: value.view(-1, len(ROLES), *value.shape[1:])  # noqa: E731
    flaw, targets, weights = episode(flaw), episode(targets), episode(weights)
    judged = slice(REFERENCES, None)
    is_changed = torch.zeros(len(ROLES), dtype=torch.bool, device=flaw.device)
    is_changed[CHANGED] = True
    is_bad = ((flaw >= 0) | is_changed).float()
    # Every other product of a family is foreign all over, but which of its patches give it away nobody has said.
    weights = weights * ~is_changed[:, None]
    total = 0.0
    for window in WINDOWS:
        far = reference_distances(episode(tokens), window)
        logits = [scale[i] * value + bias[i] for i, value in enumerate(against_references(far))]
        patch = F.binary_cross_entropy_with_logits(logits[0], targets, reduction="none") * weights
        patch = patch[:, judged].sum() / weights[:, judged].sum().clamp(min=1e-6)
        top = F.binary_cross_entropy_with_logits(logits[1][:, judged], is_bad[:, judged])
        whole = F.binary_cross_entropy_with_logits(logits[2], is_changed.float().expand_as(flaw), reduction="none")
        known = (flaw < 0).float()
        known[:, :REFERENCES] = 0
        total = total + patch + top + (whole * known).sum() / known.sum().clamp(min=1)
    return total / len(WINDOWS)


def against_references(far):
    """Logarithms of: each patch's distance, a frame's farthest, a frame's mean; less those of the references."""
    far = far.clamp(min=0) + SOFTENING
    top = far.topk(TOP, dim=-1).values.mean(-1)
    mean = far.mean(-1)
    of = lambda value: value[:, :REFERENCES].mean(1, keepdim=True)  # noqa: E731
    return (far / of(mean).unsqueeze(-1)).log(), (top / of(top)).log(), (mean / of(mean)).log()
