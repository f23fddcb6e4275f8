"""The study of the recipe on one GPU, several runs side by side on it, in one command and within a time limit:

    kn test/study/prepare.ts gpu runs/study/gpu                                   where Node is
    python3 test/study/gpu.py --plan runs/study/gpu --out $OUT --minutes 9        where the GPU is

In: the plan's folder. Out, in --out: runs.jsonl, a line after every finished run (the first says where), and at the end
weights-SEED.safetensors in float16 of the arms that real sets are to judge. The first seed tries every rate of every arm; the others
take the rate that was best by the pictures in `choose`. Broken off anywhere, the same command goes on with the runs that are missing.
"""
import argparse
import json
import multiprocessing
import pathlib
import tempfile
import time
from multiprocessing.connection import wait

#: Kept free at the end for weights and for processes to stop.
MARGIN_SECONDS = 12
#: Before any run has ended: seconds a picture of one process.
FIRST_GUESS = 1 / 3000
AGAIN = 1
#: Each file that comes back stays below 16 MiB.
WEIGHTS_LIMIT_BYTES = 14_000_000
JUDGED_ON_REAL_SETS = ("scratch", "hog", "clip", "distill-all")


class Plan:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.all = json.loads((self.folder / "plan.json").read_text())
        self.arms = {arm["id"]: arm for arm in self.all["arms"]}
        self.seeds = self.all["seeds"]

    def seeds_of(self, name):
        return self.arms[name]["seeds"] or self.seeds

    def seed_for(self, name, seed):
        """Which of an arm's runs another run with this seed starts or learns from."""
        own = self.seeds_of(name)
        return seed if seed in own else own[0]

    def start(self, seed):
        return str(self.folder / f"start-{seed}.safetensors")


class Study:
    def __init__(self, plan, out, work, deadline):
        self.plan, self.out, self.work, self.deadline = plan, pathlib.Path(out), pathlib.Path(work), deadline
        self.out.mkdir(parents=True, exist_ok=True)
        self.file = self.out / "runs.jsonl"
        self.done, self.running, self.tries, self.pace = {}, {}, {}, {}
        self.known = self._read()

    def _read(self):
        """Runs of an earlier call; one whose weights are gone is only run again where another needs them."""
        lines = [json.loads(line) for line in self.file.read_text().splitlines() if line.endswith("}")] if self.file.is_file() else []
        for line in lines:
            if line.get("do") in ("train", "untrained"):
                self.done[line["arm"], line["seed"], line["rate"]] = line
        return {(line["do"], line.get("arm")) for line in lines if "do" in line and not line.get("failed")}

    def append(self, line):
        with open(self.file, "a") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")

    # --- which run comes next

    def best(self, name):
        """The rate that was best with the first seed, once all have been tried; None before that, or where all came apart."""
        arm = self.plan.arms[name]
        if arm["ratesOf"]:
            return self.best(arm["ratesOf"])
        first = self.plan.seeds_of(name)[0]
        tried = [self.done.get((name, first, rate)) for rate in arm["rates"]]
        if None in tried:
            return None
        whole = [(self.score(line), line["rate"]) for line in tried if not line.get("failed")]
        return max(whole)[1] if whole else None

    @staticmethod
    def score(line):
        return (line["judged"]["choose"]["image"] + line["judged"]["choose"]["patches"]) / 2 if "judged" in line else 0

    def weights(self, name, seed, rate):
        return self.work / f"{name}-{seed}-{rate}.safetensors"

    def given(self, name, seed):
        """The file with another arm's weights, or None while it is not there."""
        if name is None:
            return self.plan.start(seed)
        rate = self.best(name)
        file = None if rate is None else self.weights(name, self.plan.seed_for(name, seed), rate)
        return str(file) if file is not None and file.is_file() else None

    def wanted(self):
        """Every run that can begin, the first seed's first, in the order of the plan."""
        first = self.plan.seeds[0]
        for seed in self.plan.seeds:
            if ("untrained", seed, 0) not in self.done:
                yield {"do": "untrained", "arm": "untrained", "seed": seed, "rate": 0, "start": self.plan.start(seed)}
            for name, arm in self.plan.arms.items():
                own = arm["seeds"] or [seed]
                if arm["seeds"] and seed != first:
                    continue
                for one in own:
                    yield from self._of_arm(name, arm, one, sweeps=one == self.plan.seeds_of(name)[0] and not arm["ratesOf"])

    def _of_arm(self, name, arm, seed, sweeps):
        best = self.best(name)
        rates = arm["rates"] if sweeps else [best] if best is not None else []
        start = self.given(arm["from"], seed)
        teacher = None if arm["teacher"] in (None, "gradients") else self.given(arm["teacher"], seed)
        if start is None or (arm["teacher"] not in (None, "gradients") and teacher is None):
            return
        for rate in rates:
            if (name, seed, rate) in self.done and not self._is_missed(name, seed, rate):
                continue
            yield {"do": "train", "arm": name, "seed": seed, "rate": rate, "start": start, "teacher": teacher, "out": str(self.weights(name, seed, rate))}

    def _is_missed(self, name, seed, rate):
        """Whether weights of an earlier call are needed that are no longer there."""
        if self.done[name, seed, rate].get("failed") or self.weights(name, seed, rate).is_file():
            return False
        users = [other for other, arm in self.plan.arms.items() if name in (arm["from"], arm["teacher"])]
        return rate == self.best(name) and any((other, seed, 0) not in self.done for other in users)

    def next(self):
        for task in self.wanted():
            key = task["arm"], task["seed"], task["rate"]
            if key not in self.running and self.tries.get(key, 0) <= AGAIN and time.time() + self.expected(task) < self.deadline:
                return task
        return None

    def expected(self, task):
        if task["do"] != "train":
            return 5
        arm = self.plan.arms[task["arm"]]
        stage = arm["stage"]
        known = self.pace.get(task["arm"]) or (max(self.pace.values()) if self.pace else FIRST_GUESS)
        return 1.1 * stage["steps"] * stage["batch"] * known + 2

    # --- what came of it

    def took(self, task, line):
        key = task["arm"], task["seed"], task["rate"]
        self.running.pop(key)
        self.tries[key] = self.tries.get(key, 0) + 1
        if line.pop("again", False) and self.tries[key] <= AGAIN:
            return
        self.done[key] = line
        self.append(line)
        if "samples" in line:
            self.pace[task["arm"]] = line["wall"] / line["samples"]


class Process:
    def __init__(self, context, *args):
        from gpu_lab import serve

        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, *args), daemon=True)
        self.process.start()
        other.close()
        self.task = None

    def ask(self, task):
        self.task = task
        self.pipe.send(task)

    def stop(self):
        self.pipe.close()
        self.process.kill()
        self.process.join()


def answer(one):
    """What a process says; one that died says so for itself."""
    try:
        return one.pipe.recv()
    except (EOFError, OSError):
        task = one.task or {}
        return {**{key: task.get(key) for key in ("do", "arm", "seed", "rate")}, "failed": "its process ended", "died": True}


def run(plan, asked, began):
    """Processes, pictures, the speed of a step while nothing else runs, then run after run."""
    work = pathlib.Path(asked.work or tempfile.mkdtemp(prefix="kenpin-study-"))
    work.mkdir(parents=True, exist_ok=True)
    study = Study(plan, asked.out, work, began + asked.minutes * 60 - MARGIN_SECONDS)
    context = multiprocessing.get_context("spawn")
    start = lambda: Process(context, str(plan.folder), str(work), asked.device, asked.threads)  # noqa: E731
    processes = [start() for _ in range(asked.processes)]
    import safetensors.torch  # noqa: F401  slow the first time, and the end has little time

    try:
        hello = [answer(one) for one in processes][0]
        if "ready" not in hello:
            raise SystemExit("the study's processes do not start; what they said stands above")
        study.append({"preset": plan.all["preset"], "machine": hello["ready"], "processes": len(processes), "began": round(began, 1)})
        say(began, f"{len(processes)} processes on {hello['ready']['device']}")
        prepare(study, processes, began)
        work_off(study, processes, start, began)
    finally:
        for one in processes:
            one.stop()
    keep_weights(study)
    say(began, f"{len(study.done)} runs are in {study.file}")


def prepare(study, processes, began):
    missing = [name for name in study.plan.all["pools"] if not (study.work / f"pool-{name}.pt").is_file()]
    for name in missing:  # one at a time: each fills the device
        processes[0].ask({"do": "fill", "arm": name})
        line = answer(processes[0])
        study.append(line)
        say(began, f"pictures {name}: {json.dumps(line)}")
        if line.get("failed"):
            raise SystemExit(f"the pictures cannot be drawn: {line['failed']}")
    arms = [name for name in ("scratch", "dropout") if name in study.plan.arms]
    if len(arms) == 2 and ("speed", None) not in study.known:
        batch = max(arm["stage"]["batch"] for arm in study.plan.arms.values())
        processes[0].ask({"do": "speed", "arms": arms, "batch": batch, "start": study.plan.start(study.plan.seeds[0])})
        line = answer(processes[0])
        study.append(line)
        say(began, f"speed: {json.dumps(line)}")


def work_off(study, processes, start, began):
    idle = list(range(len(processes)))
    while True:
        while idle and (task := study.next()):
            study.running[task["arm"], task["seed"], task["rate"]] = task
            processes[idle[0]].ask(task)
            idle.pop(0)
        busy = [one for i, one in enumerate(processes) if i not in idle]
        left = study.deadline - time.time()
        if not busy or left <= 0:
            return
        for pipe in wait([one.pipe for one in busy], timeout=max(0.0, min(left, 5))):
            i = next(i for i, one in enumerate(processes) if one.pipe is pipe)
            line = answer(processes[i])
            study.took(processes[i].task, {key: value for key, value in line.items() if key != "died"})
            say(began, summary(line))
            if line.get("died"):
                processes[i].stop()
                processes[i] = start()
                answer(processes[i])
            idle.append(i)


def summary(line):
    name = f"{line['arm']} seed {line['seed']} rate {line['rate']}"
    if line.get("failed"):
        return f"{name}: failed: {line['failed']}"
    judged = line.get("judged", {}).get("seen", {})
    return f"{name}: {line.get('imagesPerSecond', '-')} images/s, {line['wall']} s, {json.dumps(judged)}"


def keep_weights(study):
    """float16, the arms' names before the weights'; several files, so that each stays small."""
    from safetensors.torch import load_file, save_file

    tensors, size, number = {}, 0, 1
    for seed in study.plan.seeds:
        for name in JUDGED_ON_REAL_SETS:
            file = study.given(name, seed) if name in study.plan.arms else None
            if file is None:
                continue
            own = {f"{name}/{seed}/{key}": value.half().contiguous() for key, value in load_file(file).items()}
            bytes_own = sum(2 * value.numel() for value in own.values())
            if tensors and size + bytes_own > WEIGHTS_LIMIT_BYTES:
                save_file(tensors, study.out / f"weights-{number}.safetensors")
                tensors, size, number = {}, 0, number + 1
            tensors.update(own)
            size += bytes_own
    if tensors:
        save_file(tensors, study.out / f"weights-{number}.safetensors")


def say(began, text):
    print(f"{time.time() - began:6.1f} s  {text}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", required=True, help="the folder that prepare.ts wrote")
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--work", help="keeps pictures and weights here, so that a run that was broken off goes on with them")
    asked = parser.parse_args()
    run(Plan(asked.plan), asked, time.time())


if __name__ == "__main__":
    main()
