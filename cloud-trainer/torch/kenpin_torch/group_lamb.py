"""LAMB with one trust ratio a parameter group, as flattened shards (ZeRO stage 1) had in the published EVA-CLIP runs: the recipe's
`trustScope: group`. The rest is timm's Lamb: moments with bias correction, decay inside the update, no ratio where there is none.
In: the groups of groups.py, whose key (tower, share of the rate, decay) is what src/train/engines/tfjs/optimizer.ts groups by.
"""
import torch
from timm.optim import Lamb


class GroupLamb(Lamb):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["step"] = group.get("step", torch.tensor(0.0)) + 1
            held = [value for value in group["params"] if value.grad is not None]
            if held:
                self._update(group, held, float(group["step"]))

    def _update(self, group, held, step):
        beta1, beta2 = group["betas"]
        for value in held:
            if not self.state[value]:
                self.state[value] = {"exp_avg": torch.zeros_like(value), "exp_avg_sq": torch.zeros_like(value)}
        grads = [value.grad for value in held]
        m, v = ([self.state[value][key] for value in held] for key in ("exp_avg", "exp_avg_sq"))
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, value=1 - beta2)
        # u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + decay * w
        below = torch._foreach_sqrt(v)
        torch._foreach_div_(below, (1 - beta2**step) ** 0.5)
        torch._foreach_add_(below, group["eps"])
        update = torch._foreach_div(m, 1 - beta1**step)
        torch._foreach_div_(update, below)
        decay = group["weight_decay"]
        if decay == 0:
            torch._foreach_add_(held, update, alpha=-group["lr"])
            return
        torch._foreach_add_(update, held, alpha=decay)
        own, moved = (torch.stack(torch._foreach_norm(tensors)).norm() for tensors in (held, update))
        ratio = torch.where((own > 0) & (moved > 0), own / moved, torch.ones_like(own))  # r = |w| / |u|
        torch._foreach_mul_(update, ratio * -group["lr"])
        torch._foreach_add_(held, update)
