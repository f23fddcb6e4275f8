"""What TensorRT demands of a graph of QuantizeLinear pairs, for python.test.ts: python check_qdq.py MODEL...

Signed codes, zero points of 0, one scale for each activation, one an output channel for weights. Prints one JSON object a model:
how many of each there are, and every node that is otherwise. Needs: pip install onnx numpy.
"""
import json, sys
import onnx
from onnx import numpy_helper

for path in sys.argv[1:]:
    graph = onnx.load(path).graph
    constants = {i.name: i for i in graph.initializer}
    activations, weights, wrong = 0, 0, []
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale = numpy_helper.to_array(constants[node.input[1]])
        zero = numpy_helper.to_array(constants[node.input[2]]) if len(node.input) > 2 and node.input[2] else None
        stored = constants.get(node.input[0])
        if stored is not None and node.op_type == "DequantizeLinear":
            weights += 1
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            right = stored.data_type == onnx.TensorProto.INT8 and scale.shape == (stored.dims[axis],)
        else:
            activations += 1
            # Without a zero point the codes would be unsigned.
            right = scale.size == 1 and zero is not None and zero.dtype.name == "int8"
        if not right or (scale <= 0).any() or (zero is not None and zero.any()):
            wrong.append(node.name)
    print(json.dumps({"file": path, "activations": activations, "weights": weights, "wrong": wrong}))
