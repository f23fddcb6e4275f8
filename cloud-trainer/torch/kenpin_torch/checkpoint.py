"""Step checkpoints in the form of src/train/{checkpoint,run-folder}.ts: a folder of safetensors files and state.json.

state.json is written last and holds each file's size and sha256 and a digest of itself; the folder is filled under another
name, flushed and then renamed, so that one of this name is whole. The last two are kept, and the last steady one.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil

from safetensors.torch import load_file, save_file

KEPT = 2
_NAME = re.compile(r"^step-(\d{8})$")


class RunFolder:
    def __init__(self, folder):
        self.dir = folder
        self.checkpoints = folder / "checkpoints"
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for partial in self.checkpoints.glob(".partial-*"):
            shutil.rmtree(partial, ignore_errors=True)
        self.metrics = open(folder / "metrics.jsonl", "ab")

    def append(self, line):
        self.metrics.write((json.dumps(line) + "\n").encode())
        self.metrics.flush()

    def save(self, step, state, steady, files):
        """`files`: tensors by file name."""
        os.fsync(self.metrics.fileno())
        partial = self.checkpoints / f".partial-step-{step:08d}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        written = []
        for name, tensors in files.items():
            save_file(tensors, partial / name)
            written.append({"name": name, "bytes": (partial / name).stat().st_size, "sha256": _flushed_digest(partial / name)})
        body = {"formatVersion": 1, "step": step, "steady": steady, "metricsBytes": self.metrics.tell(), "files": written, "state": state}
        text = json.dumps(body, separators=(",", ":"))
        (partial / "state.json").write_text(f'{{"sha256":"{hashlib.sha256(text.encode()).hexdigest()}","body":{text}}}\n')
        _flush(partial / "state.json")
        _flush(partial)
        final = self.checkpoints / f"step-{step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        _flush(self.checkpoints)
        self._prune()

    def resume(self):
        """The newest whole checkpoint or None, and what was passed over; metrics are cut to its length."""
        found, passed_over = self._first_whole(self._steps())
        self._cut(found["metricsBytes"] if found else 0)
        return found, passed_over

    def go_back(self, depth):
        steady = [step for step in self._steps() if (head := self._head(step)[0]) and head["steady"]]
        at = min(depth, len(steady) - 1)
        found, passed_over = self._first_whole([*steady[max(at, 0):], *reversed(steady[: max(at, 0)])])
        for step in self._steps():
            if found and step > found["step"]:
                shutil.rmtree(self._path(step), ignore_errors=True)
        return found, passed_over

    def _steps(self):
        matches = (_NAME.match(path.name) for path in self.checkpoints.iterdir())
        return sorted((int(match.group(1)) for match in matches if match), reverse=True)

    def _path(self, step):
        return self.checkpoints / f"step-{step:08d}"

    def _first_whole(self, steps):
        passed_over = []
        for step in steps:
            head, why = self._head(step)
            if head is None:
                passed_over.append((step, why))
                continue
            odd = next((file["name"] for file in head["files"] if not _is_whole(self._path(step) / file["name"], file)), None)
            if odd is not None:
                passed_over.append((step, f"{odd} is not the file that was written"))
                continue
            head["tensors"] = {file["name"]: load_file(self._path(step) / file["name"]) for file in head["files"]}
            return head, passed_over
        return None, passed_over

    def _head(self, step):
        try:
            text = (self._path(step) / "state.json").read_text()
            read = json.loads(text)
            body = text[len(f'{{"sha256":"{read["sha256"]}","body":') : text.rindex("}")]
            if hashlib.sha256(body.encode()).hexdigest() != read["sha256"]:
                return None, "state.json is not the one that was written"
            return read["body"], None
        except (OSError, ValueError, KeyError) as error:
            return None, f"state.json cannot be read: {error}"

    def _prune(self):
        steps = self._steps()
        steady = next((step for step in steps if (head := self._head(step)[0]) and head["steady"]), None)
        for step in steps[KEPT:]:
            if step != steady:
                shutil.rmtree(self._path(step), ignore_errors=True)

    def _cut(self, size):
        self.metrics.truncate(min(size, os.fstat(self.metrics.fileno()).st_size))
        self.metrics.seek(0, os.SEEK_END)

    def close(self):
        self.metrics.close()


def read_checkpoint(folder, step):
    """One that rank 0 has found whole, for the other ranks."""
    place = pathlib.Path(folder) / "checkpoints" / f"step-{step:08d}"
    head = json.loads((place / "state.json").read_text())["body"]
    head["tensors"] = {file["name"]: load_file(place / file["name"]) for file in head["files"]}
    return head


def _is_whole(path, file):
    return path.is_file() and path.stat().st_size == file["bytes"] and _digest(path) == file["sha256"]


def _digest(path):
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _flushed_digest(path):
    _flush(path)
    return _digest(path)


def _flush(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
