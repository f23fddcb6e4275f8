"""Runs one arm of the study after the other on the device, as kenpin_torch's own stages and loop, and judges what comes out.

In: a task {"arm", "seed", "rate", "start", "teacher"} of a plan (prepare.ts). Out: a line for runs.jsonl, and the weights as a file.
Pictures are drawn once on the device, into files that every process of the study reads (`Lab.fill`).
"""
import copy
import json
import os
import pathlib
import shutil
import statistics
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "cloud-trainer" / "torch"))

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from kenpin_torch import fused, losses  # noqa: E402
from kenpin_torch.episodes import EpisodePool  # noqa: E402
from kenpin_torch.generator import ROLES  # noqa: E402
from kenpin_torch.job import Job, Refused  # noqa: E402
from kenpin_torch.measure import auroc  # noqa: E402
from kenpin_torch.model import load  # noqa: E402
from kenpin_torch.ranks import Ranks  # noqa: E402
from kenpin_torch.stages import STAGES  # noqa: E402
from kenpin_torch.steps import Loop  # noqa: E402
from kenpin_torch.surfaces import judged_patches  # noqa: E402
from kenpin_torch.towers import embed_image, embed_text  # noqa: E402

#: How often a run is judged on its way, its end included.
LOOKS = 6
EPISODES_AT_ONCE = 50
#: A frame's hottest patches, as reference_loss.py has it.
TOP = 2
SPEED_WARMUP, SPEED_ROUNDS, SPEED_STEPS = 3, 3, 8


class LargePool(EpisodePool):
    """Drawn in fewer, larger parts: small pictures of few families would keep the device waiting."""

    chunk = 100


class StoredPool(EpisodePool):
    """An EpisodePool whose pictures another process drew."""

    def __init__(self, file, *rest):
        self.file = file
        super().__init__(*rest)

    def _fill(self, *_):
        for name, value in torch.load(self.file, map_location=self.ranks.device).items():
            setattr(self, name, value)


class Watched(Loop):
    """Looks at the model at a few steps; what a look takes is no time of the training."""

    def __init__(self, *rest, look):
        super().__init__(*rest)
        self.look, self.curve, self.looking = look, [], 0.0
        steps = self.recipe["steps"]
        self.stops = {max(1, round(steps * i / LOOKS)) for i in range(1, LOOKS + 1)}

    def _report(self, steps, rate, reading):
        if self.look and self.step in self.stops:
            began = time.monotonic()
            self.curve.append({"samples": self.samples, "loss": round(reading["loss"], 4), **self.look(self.stage.model)})
            self.looking += time.monotonic() - began


class Lab:
    def __init__(self, plan_dir, work, device):
        self.dir, self.work = pathlib.Path(plan_dir), pathlib.Path(work)
        self.plan = json.loads((self.dir / "plan.json").read_text())
        self.ranks = Ranks(device)
        self.device = self.ranks.device
        self.precision = "bf16" if self.device.type == "cuda" else "float32"
        self.options = {"dtype": torch.bfloat16 if self.precision == "bf16" else torch.float32, "attention": "sdpa"}
        self.arms = {arm["id"]: arm for arm in self.plan["arms"]}
        self.pools = {}
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "bf16"
        fused.compile_parts(False)

    def do(self, task):
        """One line of the results; what goes wrong is in it."""
        began = time.time()
        try:
            line = getattr(self, task["do"])(task)
        except Refused as error:
            line = {"failed": str(error)}
        except torch.OutOfMemoryError:
            line = {"failed": "the device's memory was full", "again": True}
        except Exception as error:
            traceback.print_exc()
            line = {"failed": f"{type(error).__name__}: {error}"[:300]}
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return {**{key: task[key] for key in ("do", "arm", "seed", "rate") if key in task}, **line, "began": round(began, 1), "wall": round(time.time() - began, 2)}

    # --- pictures

    def fill(self, task):
        name = task["arm"]
        kind = LargePool if self.device.type == "cuda" and name == "train" else EpisodePool
        pool = kind(self._source(name), self._job("scratch", 1, 1), self.ranks)
        file = self.work / f"pool-{name}.pt"
        torch.save({key: getattr(pool, key) for key in ("pictures", "shares", "material", "flaw")}, file.with_suffix(".part"))
        file.with_suffix(".part").rename(file)
        return {"pictures": len(pool) * len(ROLES), "defective": round(float((pool.flaw >= 0).float().mean()), 4)}

    def _source(self, name):
        own = self.plan["pools"][name]
        captions = self.dir / "captions.json"
        without = own.get("without", [])
        if "only" in own:
            without = [material for material in json.loads(captions.read_text())["materials"] if material not in own["only"]]
        return {"surfaces": own["surfaces"], "seed": own["seed"], "captions": str(captions), "without": without}

    def pool(self, name, job=None):
        """The pictures, drawn from as the job says."""
        job = job or self._job("scratch", 1, 1)
        if name not in self.pools:
            self.pools[name] = StoredPool(self.work / f"pool-{name}.pt", self._source(name), job, self.ranks)
        pool = copy.copy(self.pools[name])
        pool.job, pool.per_batch = job, job.recipe["batch"] // len(ROLES)
        pool.size = pool.per_batch * len(ROLES)
        return pool

    # --- training

    def train(self, task):
        arm = self.arms[task["arm"]]
        job = self._job(task["arm"], task["seed"], task["rate"], task)
        loop = self._loop(job, look=None if arm["stage"]["stage"] == "pretrain" else lambda model: self.look(model, "choose"))
        try:
            figures = loop.run()
            self._keep(loop.result(), task["out"])
        finally:
            shutil.rmtree(job.folder, ignore_errors=True)
        seconds = figures["seconds"] - loop.looking
        line = {
            "steps": figures["steps"], "samples": figures["samplesSeen"], "seconds": round(seconds, 2), "skipped": figures["skipped"],
            "imagesPerSecond": round(figures["samplesSeen"] / seconds, 1), "curve": loop.curve,
        }
        if arm["stage"]["stage"] != "pretrain":
            line["judged"] = self.judged(loop.stage.model)
        return line

    def _keep(self, tensors, out):
        part = pathlib.Path(out).with_suffix(".part")
        save_file(tensors, part)
        part.rename(out)

    def _loop(self, job, look=None):
        torch.manual_seed(job.seed)
        stage = STAGES[job.stage](job, self.ranks).to(self.device)
        stage.after_load()
        return Watched(job, self.ranks, stage, self.pool("train", job), pathlib.Path(job.folder), look=look)

    def _job(self, name, seed, rate, task=None):
        arm, models = self.arms[name], self.plan["models"]
        recipe = copy.deepcopy(arm["stage"])
        recipe["optimizer"]["rates"] = {tower: own * rate for tower, own in recipe["optimizer"]["rates"].items()}
        config = models["student" if arm["isStudent"] else "base"]
        teacher, weights = None, None
        if task:
            weights = task["start"]
            if arm["isStudent"]:
                weights = self._student(task)
            if arm["teacher"] == "gradients":
                teacher = {"length": 27}
            elif arm["teacher"]:
                teacher = {"config": models["base"], "weights": task["teacher"]}
        folder = self.work / f"run-{os.getpid()}-{name}-{seed}-{rate}"
        return Job(arm["stage"]["stage"], config, weights or "", str(folder), recipe, {}, seed=seed, words=self.plan["words"], teacher=teacher, precision=self.precision, device=self.device.type if self.device.type == "cpu" else None)

    def _student(self, task):
        """The teacher's first block, its last and evenly spaced ones between, as src/distill/student.ts takes them."""
        depth, of = (self.plan["models"][name]["image"]["depth"] for name in ("student", "base"))
        source = lambda block: of - 1 if depth == 1 else int(block * (of - 1) / (depth - 1) + 0.5)  # noqa: E731
        tensors = load_file(task["start"])
        out = {name: value for name, value in tensors.items() if ".blocks." not in name}
        for block in range(depth):
            mine, its = (f"visual.trunk.blocks.{number}." for number in (block, source(block)))
            out.update({name.replace(its, mine): value for name, value in tensors.items() if name.startswith(its)})
        file = self.work / f"student-{os.getpid()}.safetensors"
        save_file({name: value.contiguous() for name, value in out.items()}, file)
        return str(file)

    # --- judging

    def untrained(self, task):
        """What weights drawn at random tell: the floor of every comparison."""
        model = load(self.plan["models"]["base"], task["start"])[0].to(self.device)
        return {"judged": self.judged(model)}

    def judged(self, model):
        return {name: self.look(model, name) for name in ("choose", "seen", "unseen")}

    @torch.no_grad()
    def look(self, model, name):
        """AUROC by words alone, of whole pictures, of frames (pictures and their hottest patches) and of patches; held-out loss."""
        pool, words = self.pool(name), self.plan["words"]
        ids = torch.tensor([*words["good"], *words["bad"]], device=self.device)
        direction = losses.directions(embed_text(model.text, ids, **self.options), len(words["good"]))
        generator = torch.Generator(device=self.device).manual_seed(1)
        rows, contrasts = [], []
        for start in range(0, len(pool), EPISODES_AT_ONCE):
            own = slice(start, start + EPISODES_AT_ONCE)
            pixels = (pool.pictures[own].flatten(0, 1).float() / 255 - pool.mean) / pool.std
            images, patches = embed_image(model.visual.trunk, pixels, patches=True, **self.options)
            targets, weights = judged_patches(pool.shares[own].flatten(2).flatten(0, 1).float() / 255)
            flaw = pool.flaw[own].flatten()
            said = pool.table.draw(pool.material[own].repeat_interleave(len(ROLES)), flaw, generator)
            texts = embed_text(model.text, said["ids"], **self.options)
            contrasts.append(losses.contrastive(images, texts, model.logit_scale.exp(), said["positive"], said["blocked"]))
            rows.append((images @ direction, patches @ direction, flaw >= 0, targets, weights))
        image, patch, bad, target, weight = (torch.cat(column) for column in zip(*rows))
        frame = (image + patch.topk(TOP, dim=1).values.mean(1)) / 2
        sure = weight > 0
        figures = {"image": auroc(image, bad), "frame": auroc(frame, bad), "patches": auroc(patch[sure], target[sure])}
        return {**figures, "contrast": round(float(torch.stack(contrasts).mean()), 4)}

    # --- pictures a second

    def speed(self, task):
        """Steps of both arms in turns, with nothing else on the device."""
        wait = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        jobs = {name: self._job(name, 1, 1, {"start": task["start"]}) for name in task["arms"]}
        for job in jobs.values():
            # no tail without dropout while it is timed, and no step at a rate that could spoil it
            job.recipe.update(batch=task["batch"], steps=1_000_000, checkpointEvery=1_000_000)
        loops = {name: self._loop(job) for name, job in jobs.items()}
        for loop in loops.values():
            loop._begin()
        times = {name: [] for name in loops}
        for turn in range(SPEED_ROUNDS + 1):
            for name, loop in loops.items():
                wait()
                began = time.perf_counter()
                for _ in range(SPEED_STEPS if turn else SPEED_WARMUP):
                    loop._take_step(loop._draw_batch())
                wait()
                if turn:
                    times[name].append((time.perf_counter() - began) / SPEED_STEPS)
        for loop in loops.values():
            loop.data.close()
            shutil.rmtree(loop.job.folder, ignore_errors=True)
        return {"batch": loop.data.source.size, "imagesPerSecond": {name: round(loop.data.source.size / statistics.median(each), 1) for name, each in times.items()}}


def serve(pipe, plan_dir, work, device, threads):
    """A process of the study: answers tasks until the pipe closes."""
    torch.set_num_threads(threads)
    sys.stdout = open(os.devnull, "w")  # kenpin_torch says each step there
    lab = Lab(plan_dir, work, device)
    name = torch.cuda.get_device_name() if lab.device.type == "cuda" else "cpu"
    pipe.send({"ready": {"device": name, "torch": torch.__version__, "precision": lab.precision}})
    while True:
        try:
            task = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(lab.do(task))
