"""The loop every stage runs, as src/train/engines/tfjs/steps.ts has it: draw a batch, judge its loss and gradients, take the
step or not, say how it went, save what can be gone back to; until the steps or the time are spent.

All ranks do the same: what is decided by (loss, norms, time, a signal) is rank 0's, told to the others. Rank 0 writes metrics
and checkpoints and prints JSON lines: {"step": report}, {"event": …}.
"""
import math
import platform
import resource
import signal
import time

import torch
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from .checkpoint import RunFolder, read_checkpoint
from .data import Ahead, Unreadable, say
from .gradient_cache import cached_backward, distilled_backward
from .groups import optimizer_of, parameter_groups, tower_of
from .job import Refused
from .stability import Stability

SETTLING_STEPS = 5
FAILED_BATCHES = 10
LOGIT_SCALE_LIMIT = math.log(100)
FILES = ("model.safetensors", "optimizer.safetensors", "average.safetensors")


class Stopped(Exception):
    """Asked to stop; the last step is saved."""


def cosine_rate(step, warmup, steps, floor):
    if step < warmup:
        return (step + 1) / warmup
    t = min(1, (step - warmup) / max(1, steps - warmup))
    return floor + (1 - floor) * (1 + math.cos(math.pi * t)) / 2


class Loop:
    def __init__(self, job, ranks, stage, source, folder):
        self.job, self.recipe, self.ranks, self.stage = job, job.recipe, ranks, stage
        self.folder = RunFolder(folder) if ranks.first else None
        self.data = Ahead(source, ranks.device)
        self.trained = [(name, value) for name, value in stage.named() if value.requires_grad]
        self.groups = parameter_groups(self.trained, job.config, self.recipe["optimizer"], self._own_shares())
        kind, options = optimizer_of(self.recipe["optimizer"])
        plain = [{key: value for key, value in group.items() if key != "names"} for group in self.groups]
        if ranks.world > 1:
            if self.recipe["optimizer"].get("trustScope") == "group":
                raise Refused("trustScope group needs all tensors of a group in one process; say trustScope: tensor, or use one GPU")
            # whole tensors a rank, so that LAMB's trust ratio stays one a tensor
            self.optimizer = ZeroRedundancyOptimizer(plain, optimizer_class=kind, **options)
            self.wrapped = DistributedDataParallel(stage, broadcast_buffers=False, gradient_as_bucket_view=True)
        else:
            self.optimizer, self.wrapped = kind(plain, **options), stage
        decay = self.recipe["optimizer"]["average"]
        self.average = None if decay is None else {name: value.detach().clone() for name, value in self.trained}
        self.average_steps = 0
        self.step, self.draw, self.samples, self.skipped, self.rollbacks = 0, 0, 0, 0, 0
        self.before, self.taken, self.saved, self.resumed_at = 0.0, 0, -1, None
        self.stability = Stability(self.recipe["stability"])
        self.stop_asked = False

    def run(self):
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        try:
            self._run()
        finally:
            self.data.close()
        return {
            "steps": self.step, "samplesSeen": self.samples, "seconds": self._elapsed(), "skipped": self.skipped,
            "rollbacks": self.rollbacks, "resumedAt": self.resumed_at,
        }

    def _run(self):
        self._begin()
        while not (self._finished() and self._save_once("the end")):
            if self.ranks.any(self.stop_asked):
                if self.stability.calm:
                    self._save_once("asked to stop")
                raise Stopped
            self._take_step(self._draw_batch())

    def _ask_to_stop(self, *_):
        self.stop_asked = True

    def _own_shares(self):
        own = {name.replace("·", "."): 1.0 for name in self.stage.own}
        return {**own, **getattr(self.stage, "own_shares", {})}

    # --- one step

    def _take_step(self, batch):
        loss, parts = self._gradients(batch)
        reading = self._read(loss, parts)
        self.samples += batch["size"]
        self.data.used(self.draw - 1)
        verdict, why = self.stability.judge(self.step + 1, reading["loss"], reading["norm"])
        if verdict == "accept":
            self._update(reading)
            if self.step % self.recipe["checkpointEvery"] == 0:
                self._save(f"every {self.recipe['checkpointEvery']} steps")
            return
        self.skipped += 1
        if verdict == "skip":
            self._tell("skipped", why)
        else:
            self._roll_back(why)

    def _gradients(self, batch):
        self.optimizer.zero_grad(set_to_none=True)
        micro = self.recipe.get("microBatch")
        if micro is not None and len(batch["pixel_values"]) * self.ranks.world > micro:
            backward = {"train": cached_backward, "distill": distilled_backward}[self.job.stage]
            return backward(self.wrapped, self.stage, batch, max(1, micro // self.ranks.world))
        loss, parts = self.wrapped(batch)
        loss.backward()
        return loss.detach(), {name: value.detach() for name, value in parts.items()}

    def _read(self, loss, parts):
        """All that the host must know of a step, in one read-back."""
        squares = {"image": [], "text": [], "other": []}
        for name, value in self.trained:
            if value.grad is not None:
                squares[tower_of(name)].append(value.grad)
        norms = [torch.stack(torch._foreach_norm(grads)).square().sum() if grads else loss.new_zeros(()) for grads in squares.values()]
        shared = self.ranks.mean(torch.stack([loss.float(), *(value.float() for value in parts.values())]))
        numbers = torch.cat((shared, torch.stack(norms).float(), self.stage.model.logit_scale.detach().float()[None])).tolist()
        value, *rest = self.ranks.from_first(numbers)
        image, text, other, log_scale = rest[len(parts) :]
        return {
            "loss": value, "parts": dict(zip(parts, rest)), "norm": math.sqrt(image + text + other) if image + text + other >= 0 else math.nan,
            "norms": {"image": math.sqrt(max(image, 0)), "text": math.sqrt(max(text, 0)), "other": math.sqrt(max(other, 0))},
            "logitScale": math.exp(min(log_scale, 50)),
        }

    def _update(self, reading):
        recipe = self.recipe["optimizer"]
        steps = self._expected_steps()
        rate = cosine_rate(self.step, recipe["warmup"], steps, recipe["floor"]) * self.stability.rate_share
        shrink = 1 / max(1.0, reading["norm"] / recipe["clipNorm"])
        if shrink < 1:
            torch._foreach_mul_([value.grad for _, value in self.trained if value.grad is not None], shrink)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.step()
        with torch.no_grad():
            if self.stage.model.logit_scale.requires_grad:
                self.stage.model.logit_scale.clamp_(max=LOGIT_SCALE_LIMIT)
            self._update_average(recipe["average"])
        self.step += 1
        self.taken += 1
        self._report(steps, rate, reading)

    def _update_average(self, decay):
        if self.average is None:
            return
        kept = min(decay, (1 + self.average_steps) / (10 + self.average_steps))
        self.average_steps += 1
        torch._foreach_lerp_(list(self.average.values()), [value.detach() for _, value in self.trained], 1 - kept)

    def _report(self, steps, rate, reading):
        if not self.ranks.first:
            return
        here = self._elapsed() - self.before
        left = self.recipe["seconds"] - self._elapsed() if self.recipe.get("steps") is None else (steps - self.step) * here / self.taken
        memory = torch.cuda.max_memory_allocated() if self.ranks.device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        report = {
            "step": self.step, "steps": steps, "loss": reading["loss"], "parts": reading["parts"], "gradientNorm": reading["norm"],
            "norms": reading["norms"], "rate": rate, "logitScale": reading["logitScale"],
            "imagesPerSecond": (self.samples - self.began_samples) / here, "secondsLeft": max(0.0, left),
            "memoryMb": round(memory / 2**20), "samplesSeen": self.samples,
        }
        self.folder.append(report)
        say(step=report)

    # --- batches

    def _draw_batch(self):
        for failed in range(1, FAILED_BATCHES + 1):
            draw, self.draw = self.draw, self.draw + 1
            steps = self._expected_steps()
            try:
                batch, why = self.data.take(draw, lambda ahead: min(1.0, (self.step + ahead) / steps)), None
            except Unreadable as error:
                batch, why = None, str(error)
            if not self.ranks.any(batch is None):
                return batch
            self._tell("batch-failed", f"batch {draw} cannot be drawn: {why or 'by another rank'}")
        raise Refused(f"{failed} batches in a row cannot be drawn, the last because: {why}; check the data, then start the run again")

    # --- saving and going back

    def _begin(self):
        found, passed_over = self.folder.resume() if self.folder else (None, [])
        self.ranks.wait()
        step = self.ranks.from_first([found["step"] if found else -1])[0]
        if step >= 0 and not self.ranks.first:
            found = read_checkpoint(self.job.folder, int(step))
        self._tell_broken(passed_over)
        self.began_at = time.monotonic()
        if found:
            self._put_back(found)
            self.before, self.resumed_at = found["state"]["seconds"], found["step"]
            self._tell("resumed", self._describe_resume(found["state"]["machine"]))
        elif hasattr(self.stage, "begin"):
            self.stage.begin(self.data.take(0, lambda ahead: 0.0))
            self.data.coming.pop(0, None)
        self.began_samples = self.samples
        if not found:
            self._save("the start")

    def _state(self):
        return {
            "draw": self.draw, "samplesSeen": self.samples, "seconds": self._elapsed(), "skipped": self.skipped, "rollbacks": self.rollbacks,
            "averageSteps": self.average_steps, "stability": self.stability.state, "machine": self._machine(),
        }

    def _machine(self):
        device = torch.cuda.get_device_name() if self.ranks.device.type == "cuda" else platform.processor() or platform.machine()
        return {"backend": self.ranks.device.type, "torch": torch.__version__, "ranks": str(self.ranks.world), "processor": device}

    def _describe_resume(self, before):
        changed = [f"{key} {before.get(key)} before, {value} now" for key, value in self._machine().items() if before.get(key) != value]
        if not changed:
            return "same machine and number of ranks"
        return f"the numbers will differ in their last bits from a run that was not interrupted: {'; '.join(changed)}"

    def _tensors(self):
        """By file, on the CPU; every rank must call it, as the optimizer's state lies spread over all of them."""
        if self.ranks.world > 1:
            self.optimizer.consolidate_state_dict(to=0)
        if not self.ranks.first:
            return None
        cpu = lambda value: value.detach().float().cpu().contiguous().clone()  # noqa: E731
        files = {FILES[0]: {name: cpu(value) for name, value in self.stage.named()}}
        state = self.optimizer.state_dict()
        names = [name for group in self.groups for name in group["names"]]
        moments = {"step": torch.tensor(float(self.taken_in_all(state)))}
        for index, name in enumerate(names):
            own = state["state"].get(index)
            for kind, key in (("m", "exp_avg"), ("v", "exp_avg_sq")):
                value = own[key] if own else torch.zeros_like(dict(self.trained)[name])
                moments[f"{kind}.{name}"] = cpu(value)
        files[FILES[1]] = moments
        if self.average is not None:
            files[FILES[2]] = {"averageSteps": torch.tensor(float(self.average_steps)), **{f"average.{name}": cpu(value) for name, value in self.average.items()}}
        return files

    def taken_in_all(self, state):
        for group in state["param_groups"]:
            if "step" in group:
                return float(group["step"])
        return next((float(own["step"]) for own in state["state"].values() if "step" in own), 0.0)

    def _save(self, why):
        files, odd = self._tensors(), ""
        if files is not None:
            odd = next((f"{name} of {file}" for file, tensors in files.items() for name, value in tensors.items() if not value.isfinite().all()), "")
            if not odd:
                self.folder.save(self.step, self._state(), self.stability.steady, files)
        if not self.ranks.any(bool(odd)):
            self.saved = self.step
            self._tell("checkpoint", why)
            return True
        if self.saved < 0:
            raise Refused(f"the weights to start from are not finite: {odd}; start from others")
        self._roll_back(f"the state is not finite: {odd}")
        return False

    def _save_once(self, why):
        return self.saved == self.step or self._save(why)

    def _roll_back(self, why):
        trouble, spent = self.step, self.stability.spent
        found, passed_over = self.folder.go_back(self.stability.depth) if self.folder else (None, [])
        step = int(self.ranks.from_first([found["step"] if found else -1])[0])
        if step < 0:
            raise Refused(f"no checkpoint in {self.job.folder} is whole; start this stage anew in an empty folder")
        if spent:
            raise Refused(
                f"the training came apart at step {trouble} ({why}), again after {self.rollbacks} rollbacks and at a lowered rate; the last good step is {step}: "
                "lower the rate, lengthen the warm-up, or look at the data of the batches that metrics.jsonl calls skipped"
            )
        self._tell_broken(passed_over)
        if not found:
            found = read_checkpoint(self.job.folder, step)
        kept = (self.draw, self.samples, self.skipped, self.rollbacks)
        state = self.stability
        self._put_back(found)
        self.draw, self.samples, self.skipped, self.rollbacks = kept
        self.stability = state
        self.stability.rolled_back(found["state"]["stability"], trouble)
        self.rollbacks += 1
        self.saved = self.step
        self._tell("rolled-back", f"{why}; from step {trouble} back to {self.step}, the rate at {self.stability.rate_share} of the schedule's")

    def _put_back(self, found):
        model, moments = found["tensors"][FILES[0]], found["tensors"][FILES[1]]
        with torch.no_grad():
            for name, value in self.stage.named():
                if name not in model or model[name].shape != value.shape:
                    raise Refused(f"the checkpoint belongs to another recipe: its weight {name} is missing or of another shape; use a new folder, or the recipe this folder was begun with")
                value.copy_(model[name])
        self._load_moments(moments)
        if self.average is not None:
            for name, value in self.average.items():
                value.copy_(found["tensors"][FILES[2]][f"average.{name}"])
        state = found["state"]
        self.step, self.draw, self.samples, self.skipped, self.rollbacks = (
            found["step"], state["draw"], state["samplesSeen"], state["skipped"], state["rollbacks"]
        )
        self.average_steps = state["averageSteps"]
        self.stability = Stability(self.recipe["stability"], state["stability"])
        self.saved = self.step

    def _load_moments(self, moments):
        state = self.optimizer.state_dict() if self.ranks.world == 1 else {"param_groups": [dict(group) for group in self._plain_groups()]}
        names = [name for group in self.groups for name in group["names"]]
        count = moments["step"]
        adamw = self.recipe["optimizer"]["name"] == "adamw"
        device = self.ranks.device
        state["state"] = {} if count == 0 else {
            index: {"exp_avg": moments[f"m.{name}"].to(device), "exp_avg_sq": moments[f"v.{name}"].to(device), **({"step": count.clone()} if adamw else {})}
            for index, name in enumerate(names)
        }
        if not adamw:
            for group in state["param_groups"]:
                group["step"] = count.clone()
        self.optimizer.load_state_dict(state)

    def _plain_groups(self):
        at = 0
        for group in self.optimizer.param_groups:
            indices = list(range(at, at + len(group["params"])))
            at += len(indices)
            yield {**{key: value for key, value in group.items() if key != "params"}, "params": indices}

    # --- time

    def _expected_steps(self):
        if self.recipe.get("steps") is not None:
            return self.recipe["steps"]
        if self.step < SETTLING_STEPS:
            return 1000
        seconds = self.ranks.from_first([self._elapsed()])[0]
        return max(self.step + 1, round(self.step * self.recipe["seconds"] / seconds))

    def _finished(self):
        if self.recipe.get("steps") is not None:
            over = self.step >= self.recipe["steps"]
        else:
            over = self.ranks.from_first([self._elapsed()])[0] >= self.recipe["seconds"]
        return over and self.stability.calm

    def _elapsed(self):
        return self.before + time.monotonic() - self.began_at

    def _tell_broken(self, passed_over):
        for step, why in passed_over:
            self._tell("checkpoint-broken", f"step-{step:08d} is passed over: {why}")

    def _tell(self, event, why):
        if self.ranks.first:
            line = {"event": event, "step": self.step, "why": why}
            self.folder.append(line)
            say(event=line)

    def result(self):
        """The weights the stage ends with, the moving average where the recipe wants it."""
        tensors = {name: value.detach().float().cpu().contiguous() for name, value in self.stage.named()}
        if self.average is not None:
            tensors.update({name: value.float().cpu().contiguous() for name, value in self.average.items()})
        return tensors
