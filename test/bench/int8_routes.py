"""The Python half of test/bench/int8.ts: the standard route to 8 bits, and the clock for both routes.

python int8_routes.py export FOLDER [CHECKPOINT]   torch.onnx.export and onnxruntime's quantize_dynamic, as their guides have it, of the
    EVA02-B-16 image tower with seeded weights, or those of CHECKPOINT (safetensors): std.onnx, std8.onnx; without one the checkpoint too.
python int8_routes.py time FOLDER ROUNDS NAME...   opens FOLDER/NAME.onnx in one process, two threads each, runs them in turns; prints JSON
    with medians, and cosines to std of embeddings of FOLDER/pixels (float32 [n, 3, S, S]).
Needs: pip install torch torchvision timm==1.0.31 open-clip-torch==3.3.0 onnx onnxruntime safetensors numpy.
"""
import json, os, pathlib, statistics, sys, time
import numpy as np

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures/clip"
MODEL = "EVA02-B-16"


def export(folder, checkpoint=None):
    import torch
    sys.path.insert(0, str(FIXTURES))
    import make_towers
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from safetensors.torch import load_file, save_file
    torch.set_num_threads(2)
    config = json.load(open(make_towers.MODELS / f"{MODEL}.json"))
    model = make_towers.build(config)
    if checkpoint:
        model.load_state_dict(load_file(checkpoint))
    else:
        save_file(make_towers.seeded(model), f"{folder}/checkpoint.safetensors")

    class Tower(torch.nn.Module):
        def __init__(self, trunk):
            super().__init__()
            self.trunk = trunk

        def forward(self, pixel_values):
            return torch.nn.functional.normalize(self.trunk(pixel_values), dim=-1)

    side = config["image"]["size"]
    axes = {"pixel_values": {0: "n"}, "image_embeds": {0: "n"}}
    with torch.no_grad():
        torch.onnx.export(Tower(model.visual.trunk).eval(), (torch.zeros(1, 3, side, side),), f"{folder}/std.onnx", dynamo=False, opset_version=17,
                          input_names=["pixel_values"], output_names=["image_embeds"], dynamic_axes=axes)
    quantize_dynamic(f"{folder}/std.onnx", f"{folder}/std8.onnx", weight_type=QuantType.QInt8)


def clock(folder, rounds, names):
    import onnxruntime
    side = json.load(open(FIXTURES.parents[2] / f"packages/clip/models/{MODEL}.json"))["image"]["size"]
    pixels = np.fromfile(f"{folder}/pixels", np.float32).reshape(-1, 3, side, side)

    def open_session(name):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 2, 3
        # Threads of the session that ran before must not spin into the next one's turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return onnxruntime.InferenceSession(f"{folder}/{name}.onnx", options, providers=["CPUExecutionProvider"])

    sessions = {name: open_session(name) for name in names}
    run = lambda session, x: session.run(["image_embeds"], {"pixel_values": x})[0].reshape(len(x), -1)
    times = {name: [] for name in names}
    for turn in range(-1, rounds):
        for name, session in sessions.items():
            for i in range(3):
                start = time.perf_counter()
                run(session, pixels[i % len(pixels)][None])
                if turn >= 0: times[name].append((time.perf_counter() - start) * 1e3)
    embeds = {name: np.concatenate([run(session, x[None]) for x in pixels]) for name, session in sessions.items()}
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = {name: (unit(rows) * unit(embeds["std"])).sum(1) for name, rows in embeds.items()}
    result = {name: {"msMedian": statistics.median(times[name]), "msLeast": min(times[name]), "bytes": os.path.getsize(f"{folder}/{name}.onnx"),
                     "cosineMean": float(cosine[name].mean()), "cosineLeast": float(cosine[name].min())} for name in names}
    print(json.dumps({"onnxruntime": onnxruntime.__version__, "models": result}))


if __name__ == "__main__":
    if sys.argv[1] == "export": export(*sys.argv[2:])
    else: clock(sys.argv[2], int(sys.argv[3]), sys.argv[4:])
