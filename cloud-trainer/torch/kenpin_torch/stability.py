"""Judges each step before it is applied: accept, skip, or go back; the same rule as src/train/engines/tfjs/stability.ts.

In: loss and global gradient norm of a batch. Out: (verdict, why). The state is plain JSON and goes into checkpoints.
"""
import copy
import math

#: Fewer accepted steps than this say nothing about what is usual.
LEAST_SEEN = 8
#: Median absolute deviation, and distance from median to 90th percentile, of a normal distribution of deviation 1.
MAD, UPPER = 1 / 1.4826, 1.2816
LEAST_LOSS_SHARE, LEAST_NORM_SHARE, TAIL_FACTOR = 0.02, 0.1, 3


def quantile(values, q):
    ordered = sorted(values)
    at = (len(ordered) - 1) * q
    low = math.floor(at)
    below = ordered[low]
    return below + (ordered[min(low + 1, len(ordered) - 1)] - below) * (at - low)


class Stability:
    def __init__(self, options, state=None):
        self.options = options
        self.state = copy.deepcopy(state) if state else {"losses": [], "norms": [], "start": None, "lowest": None, "strikes": 0, "troubleUntil": 0}
        self.odd, self.skips, self.rollbacks = [], 0, 0

    def judge(self, step, loss, norm):
        finite = math.isfinite(loss) and math.isfinite(norm)
        why = self._spike(loss, norm) if finite else f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
        if why is not None:
            self.skips += 1
            if finite:
                self.odd.append((loss, norm))
            if self.skips < self.options["skipsBeforeRollback"] * 2**self.rollbacks:
                return "skip", why
            return "roll-back", f"{self.skips} steps in a row were skipped, the last because {why}"
        self._accept(step, [*self.odd, (loss, norm)])
        self.odd, self.skips, self.rollbacks = [], 0, 0
        if self._drift() > 1:
            now, lowest = quantile(self.state["losses"], 0.5), self.state["lowest"]["median"]
            return "roll-back", f"the median loss has risen to {now:.4g} from {lowest:.4g}"
        return "accept", None

    def rolled_back(self, saved, trouble):
        strikes, until = self.state["strikes"], self.state["troubleUntil"]
        self.state = {**copy.deepcopy(saved), "strikes": strikes + 1, "troubleUntil": max(until, trouble + self.options["window"])}
        self.odd, self.skips, self.rollbacks = [], 0, self.rollbacks + 1

    @property
    def depth(self):
        return self.rollbacks

    @property
    def spent(self):
        return self.state["strikes"] >= self.options["maxRollbacks"]

    @property
    def rate_share(self):
        return self.options["rateAfterRollback"] ** self.state["strikes"]

    @property
    def calm(self):
        return self.skips == 0

    @property
    def steady(self):
        return self._drift() <= 0.5

    def _spike(self, loss, norm):
        start = self.state["start"]
        if start is None:
            return None
        median, spread = _level(self.state["losses"], start["loss"])
        if loss > median + self.options["lossDeviations"] * spread:
            return f"the loss is {loss:.4g}, after a median of {median:.4g}"
        usual = max(quantile(self.state["norms"], 0.5), LEAST_NORM_SHARE * start["norm"])
        limit = max(self.options["normFactor"] * usual, TAIL_FACTOR * quantile(self.state["norms"], 0.9))
        return f"the gradient's norm is {norm:.4g}, usual is {usual:.4g}" if norm > limit else None

    def _accept(self, step, seen):
        window, old = self.options["window"], self.state
        losses = [*old["losses"], *(loss for loss, _ in seen)][-window:]
        norms = [*old["norms"], *(norm for _, norm in seen)][-window:]
        start = old["start"]
        if start is None and len(losses) >= min(LEAST_SEEN, window):
            start = {"loss": abs(quantile(losses, 0.5)), "norm": quantile(norms, 0.5)}
        lowest = old["lowest"]
        if start and len(losses) == window:
            median, spread = _level(losses, start["loss"])
            if lowest is None or median < lowest["median"]:
                lowest = {"median": median, "spread": spread}
        passed = old["strikes"] > 0 and step >= old["troubleUntil"]
        self.state = {
            "losses": losses, "norms": norms, "start": start, "lowest": lowest,
            "strikes": old["strikes"] - passed, "troubleUntil": old["troubleUntil"] + (window if passed else 0),
        }

    def _drift(self):
        lowest, losses = self.state["lowest"], self.state["losses"]
        if lowest is None or len(losses) < self.options["window"]:
            return 0
        return (quantile(losses, 0.5) - lowest["median"]) / (self.options["lossDeviations"] * lowest["spread"])


def _level(losses, start):
    median = quantile(losses, 0.5)
    upper = (quantile(losses, 0.9) - median) / UPPER
    return median, max(quantile([abs(loss - median) for loss in losses], 0.5) / MAD, upper, LEAST_LOSS_SHARE * start, 2.0**-52)
