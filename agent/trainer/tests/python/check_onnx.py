"""Checks an ONNX model and runs it with ONNX Runtime. Used by onnx_export_test.cpp.

check_onnx.py MODEL CASES.json: CASES is a list of {"shape": [...], "images": FILE, "expected": FILE}, the files raw
little-endian floats. Prints one JSON object: what the model says of itself, and for every case how far the result is
from what was expected, |a - b| / (1 + |b|) at most.
"""
import json
import sys

import numpy
import onnx
import onnxruntime


def main(model_file, cases_file):
    model = onnx.load(model_file)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model_file, options, providers=["CPUExecutionProvider"])
    errors = []
    for case in json.load(open(cases_file)):
        images = numpy.fromfile(case["images"], "<f4").reshape(case["shape"])
        (result,) = session.run(None, {session.get_inputs()[0].name: images})
        expected = numpy.fromfile(case["expected"], "<f4").reshape(result.shape)
        errors.append(float(numpy.max(numpy.abs(result - expected) / (1 + numpy.abs(expected)))))
    print(json.dumps({
        "opset": model.opset_import[0].version,
        "operators": sorted({node.op_type for node in model.graph.node}),
        "initializers": sorted(tensor.name for tensor in model.graph.initializer),
        "metadata": {entry.key: entry.value for entry in model.metadata_props},
        "input": [session.get_inputs()[0].name, session.get_inputs()[0].shape],
        "output": [session.get_outputs()[0].name, session.get_outputs()[0].shape],
        "errors": errors,
    }))


main(*sys.argv[1:])
