#include "onnx_export.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model.h"
#include "onnx_operators.h"
#include "op_graph.h"
#include "postprocess.h"

namespace tenfold {
namespace {

OpGraph record(Detector& detector, const OnnxOptions& options, int batch) {
  const TensorProgram program = [&](const at::Tensor& images) {
    const at::Tensor decoded = decode(detector.forward_detecting(images), detector.head_layout());
    return std::vector<at::Tensor>{detector.family() == Family::v10 ? best_detections(decoded, options.max_det) : decoded};
  };
  // The picture's content is of no consequence: no operator is chosen by it.
  return record_operators(program, at::zeros({batch, 3, options.height, options.width}), named_state(detector));
}

OnnxValue described(const std::string& name, const OpGraph::Value& value) {
  OnnxValue described{name, value.type, {}};
  for (const Extent& side : value.shape) {
    if (side == Extent{0, 1})
      described.shape.emplace_back("batch");
    else
      described.shape.emplace_back(side.fixed);
  }
  return described;
}

void check_size(const Detector& detector, const OnnxOptions& options) {
  for (const int side : {options.width, options.height})
    if (side < detector.max_stride() || side % detector.max_stride() != 0)
      throw ModelError("imgsz " + std::to_string(side) + " is not a multiple of the stride " +
                       std::to_string(detector.max_stride()));
}

}  // namespace

const char* onnx_output_name(Family family) { return family == Family::v10 ? "detections" : "predictions"; }

OnnxModel export_onnx(Detector& detector, const OnnxOptions& options, std::map<std::string, std::string> metadata) {
  check_size(detector, options);
  detector.eval();
  const OpGraph graph = options.batch ? record(detector, options, *options.batch)
                                      : generalise_batch(record(detector, options, 1), record(detector, options, 2));
  OnnxModel model;
  model.name = detector.spec().name;
  model.opset = options.opset;
  model.metadata = std::move(metadata);
  const std::string output = onnx_output_name(detector.family());
  write_operators(graph, "images", {output}, model);
  model.inputs.push_back(described("images", graph.values[static_cast<size_t>(graph.input)]));
  model.outputs.push_back(described(output, graph.values[static_cast<size_t>(graph.outputs.front())]));
  return model;
}

}  // namespace tenfold
