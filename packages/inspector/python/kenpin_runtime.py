"""Runs ONNX models for an inspector, in the builds of onnxruntime that exist for Python alone (a Jetson's GPU, for one).

In: frames on stdin, as src/protocol.ts in this package describes them (hello, open, run, close). Out: one answer each on stdout.
Standard library, numpy and onnxruntime only; nothing else may ever reach stdout, so whatever a library prints goes to stderr.
It ends when stdin does, and with its parent. Started by the inspector's worker:  python kenpin_runtime.py
"""

import ctypes
import json
import os
import re
import signal
import struct
import sys
import tempfile

HEADER_LIMIT_BYTES = 1024 * 1024
BODY_LIMIT_BYTES = 512 * 1024 * 1024
MODEL_LIMIT = 16
INPUT_LIMIT = 64
DIMENSION_LIMIT = 8
FAULT_LIMIT = 300
MESSAGE_LIMIT = 2000
# What graphs in float need; those in 8 bits need 1.23, which their opening then says.
LEAST_VERSION = (1, 17)
NAMES = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
PR_SET_PDEATHSIG = 1


class Fault(Exception):
    """What the other end is told: a stable code and one line."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Models:
    """The models that are open, by number."""

    def __init__(self, np, ort):
        self.np = np
        self.ort = ort
        self.sessions = {}
        self.next = 1

    def hello(self, _header, _body):
        offered = [name for name, full in NAMES.items() if full in self.ort.get_available_providers()]
        return {"version": self.ort.__version__, "python": sys.version.split()[0], "offered": offered}, []

    def open(self, header, body):
        if len(self.sessions) >= MODEL_LIMIT:
            raise Fault("too-many-models", f"{MODEL_LIMIT} models are open already; close one")
        model = header["model"] if "model" in header else bytes(body)
        provider = header["provider"]
        options = self.ort.SessionOptions()
        # Between two runs its threads would spin on cores that the next decoding, or the other model, needs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if header.get("threads"):
            options.intra_op_num_threads = header["threads"]
        folder = None
        if header.get("profile"):
            folder = tempfile.TemporaryDirectory(prefix="kenpin-profile-")
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(folder.name, "run")
        with Stderr() as said:
            session = self.ort.InferenceSession(model, options, providers=chain(provider, header, self.ort.__version__))
        # A provider whose libraries do not load is left out with a line on stderr, and the rest goes on without it.
        if session.get_providers()[0] != NAMES[provider]:
            raise Fault("provider-away", said.fault() or "its libraries could not be loaded")
        number = self.next
        self.next += 1
        self.sessions[number] = (session, folder)
        return {"model": number}, []

    def run(self, header, body):
        session, _ = self.session(header)
        feeds = {}
        at = 0
        inputs = header["inputs"]
        if len(inputs) > INPUT_LIMIT:
            raise Fault("invalid-input", f"{len(inputs)} inputs, at most {INPUT_LIMIT}")
        for one in inputs:
            kind = self.np.dtype(self.np.int64 if one["type"] == "int64" else self.np.float32)
            dims = one["dims"]
            if len(dims) > DIMENSION_LIMIT or any(not isinstance(n, int) or n < 0 for n in dims):
                raise Fault("invalid-input", f"{one['name']} has no shape: {dims}"[:FAULT_LIMIT])
            count = 1
            for n in dims:
                count *= n
            if at + count * kind.itemsize > len(body):
                raise Fault("invalid-input", f"{one['name']} wants more numbers than came")
            feeds[one["name"]] = self.np.frombuffer(body, dtype=kind, count=count, offset=at).reshape(dims)
            at += count * kind.itemsize
        names = header.get("outputs") or [output.name for output in session.get_outputs()]
        results = session.run(names, feeds)
        parts = [self.np.ascontiguousarray(result, dtype=self.np.float32) for result in results]
        outputs = [{"name": name, "length": int(part.size)} for name, part in zip(names, parts)]
        return {"outputs": outputs}, [memoryview(part).cast("B") for part in parts if part.size]

    def close(self, header, _body):
        session, folder = self.session(header)
        del self.sessions[header["model"]]
        if folder is None:
            return {"events": []}, []
        with folder:
            with open(session.end_profiling(), encoding="utf-8") as file:
                events = json.load(file)
        kept = [pick(event) for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
        return {"events": kept}, []

    def session(self, header):
        known = self.sessions.get(header["model"])
        if known is None:
            raise Fault("unknown-model", "no such model is open here")
        return known


class Stderr:
    """Keeps what is written to stderr meanwhile, by libraries too, and passes it on."""

    def __enter__(self):
        self.file = tempfile.TemporaryFile()
        self.real = os.dup(2)
        os.dup2(self.file.fileno(), 2)
        self.text = ""
        return self

    def __exit__(self, *_):
        sys.stderr.flush()
        os.dup2(self.real, 2)
        self.file.seek(0)
        written = self.file.read()
        self.text = written.decode("utf-8", "replace")
        os.write(2, written[-8192:])
        os.close(self.real)
        self.file.close()

    def fault(self):
        """The first line that tells of a failure, without colours and the place in the runtime's sources."""
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.text)
        lines = [line for line in plain.split("\n") if "error" in line.lower() or "fail" in line.lower()]
        return re.sub(r"^.*(\] |FAIL : )(?=\w)", "", lines[0]).strip()[:FAULT_LIMIT] if lines else ""


def chain(provider, header, version):
    """The provider with its options, and behind it those that take the nodes it leaves."""
    memory = header.get("gpuMemoryMb")
    cuda = {"arena_extend_strategy": "kSameAsRequested"}
    if memory:
        cuda["gpu_mem_limit"] = str(memory * 2**20)
    if provider == "tensorrt":
        return [(NAMES["tensorrt"], tensorrt(header, version)), (NAMES["cuda"], cuda), NAMES["cpu"]]
    if provider == "cuda":
        return [(NAMES["cuda"], cuda), NAMES["cpu"]]
    if provider == "cpu":
        return [NAMES["cpu"]]
    return [NAMES[provider], NAMES["cpu"]]


def tensorrt(header, version):
    options = {}
    if header.get("gpuMemoryMb"):
        options["trt_max_workspace_size"] = str(header["gpuMemoryMb"] * 2**20)
    if header.get("engineDir"):
        folder = os.path.join(header["engineDir"], f"onnxruntime-{version}")
        os.makedirs(folder, exist_ok=True)
        options["trt_engine_cache_enable"] = "1"
        options["trt_engine_cache_path"] = folder
        options["trt_timing_cache_enable"] = "1"
        options["trt_timing_cache_path"] = folder
    # Without these an engine is built anew for each number of tiles.
    for key, which in (("min", "least"), ("opt", "usual"), ("max", "most")):
        shapes = [f"{name}:{'x'.join(map(str, shape[which]))}" for name, shape in header.get("shapes", {}).items()]
        if shapes:
            options[f"trt_profile_{key}_shapes"] = ",".join(shapes)
    return options


def pick(event):
    return {"cat": "Node", "name": event["name"][-64:], "dur": event["dur"], "args": {"provider": event["args"].get("provider", "")}}


def load():
    """numpy and onnxruntime, or what is wrong with them."""
    where = f"{sys.executable} (Python {sys.version.split()[0]})"
    try:
        import numpy
        import onnxruntime
    except Exception as error:  # a broken wheel raises anything
        why = str(error).split("\n")[0][:FAULT_LIMIT]
        raise Fault("python-incomplete", f"{where} cannot load onnxruntime and numpy ({why}); install both for it, or name another interpreter in inspector.python")
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries may lie in packages of Python's own, where no loader looks
    version = str(onnxruntime.__version__)
    parts = version.split(".")
    if not all(part.isdigit() for part in parts[:2]) or tuple(map(int, parts[:2])) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise Fault("python-too-old", f"{where} has onnxruntime {version[:32]}, {least} is the least; install a newer one")
    return Models(numpy, onnxruntime)


def end_with_parent():
    """Even in the middle of a run, where the end of stdin is not seen."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def read_exactly(stream, count):
    """`count` bytes, or None where the stream ends before."""
    data = bytearray(count)
    view = memoryview(data)
    at = 0
    while at < count:
        got = stream.readinto(view[at:])
        if not got:
            return None
        at += got
    return data


def read_message(stream):
    lengths = read_exactly(stream, 8)
    if lengths is None:
        return None
    header_bytes, body_bytes = struct.unpack(">II", lengths)
    if header_bytes > HEADER_LIMIT_BYTES or body_bytes > BODY_LIMIT_BYTES:
        sys.exit(f"stdin carries a message of {header_bytes} + {body_bytes} bytes, which is none of the inspector's")
    header = read_exactly(stream, header_bytes)
    body = read_exactly(stream, body_bytes)
    return None if header is None or body is None else (header, body)


def answer(models, header, body):
    try:
        if isinstance(models, Fault):
            raise models
        operation = {"hello": models.hello, "open": models.open, "run": models.run, "close": models.close}.get(header.get("op"))
        if operation is None:
            raise Fault("unknown-operation", f"this runtime knows no operation {str(header.get('op'))[:100]}")
        result, out = operation(header, body)
        return {"id": header["id"], "ok": True, "result": result}, out
    except Fault as fault:
        return {"id": header["id"], "error": {"code": fault.code, "message": str(fault)[:MESSAGE_LIMIT]}}, []
    except MemoryError:
        return {"id": header["id"], "error": {"code": "out-of-memory", "message": "there is no memory left for this"}}, []
    except Exception as error:
        line = f"{type(error).__name__}: {error}".split("\n")[0][:MESSAGE_LIMIT]
        return {"id": header["id"], "error": {"code": "model-failed", "message": line}}, []


def main():
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all; the agent says when to stop
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    stream = os.fdopen(0, "rb", buffering=0, closefd=False)
    try:
        models = load()
    except Fault as fault:
        models = fault
    while True:
        message = read_message(stream)
        if message is None:
            return
        try:
            header = json.loads(message[0].decode("utf-8"))
        except ValueError:
            sys.exit("stdin carries a header that is no JSON")
        if not isinstance(header, dict) or not isinstance(header.get("id"), int):
            sys.exit("stdin carries a header without an id")
        reply, parts = answer(models, header, message[1])
        text = json.dumps(reply).encode("utf-8")
        text += b" " * (-len(text) % 8)  # so that numbers begin where they may be read without a copy
        out.write(struct.pack(">II", len(text), sum(map(len, parts))) + text)
        for part in parts:
            out.write(part)
        out.flush()


if __name__ == "__main__":
    main()
