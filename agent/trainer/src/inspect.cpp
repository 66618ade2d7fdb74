#include "inspect.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>

#include <cstdio>
#include <string_view>

#include "model.h"

namespace tenfold {
namespace {

/// Multiply-adds of the convolutions and batch norms that this thread runs while the object lives. It watches the
/// operators rather than the blocks, so a new block is counted without saying anything.
class OperationCounter {
 public:
  OperationCounter() {
    current() = this;
    handle_ =
        at::addThreadLocalCallback(at::RecordFunctionCallback(&OperationCounter::on_start, &OperationCounter::on_end)
                                       .needsInputs(true)
                                       .needsOutputs(true)
                                       .scopes({at::RecordScope::FUNCTION}));
  }
  ~OperationCounter() {
    at::removeCallback(handle_);
    current() = nullptr;
  }
  OperationCounter(const OperationCounter&) = delete;
  OperationCounter& operator=(const OperationCounter&) = delete;

  double multiply_adds() const { return multiply_adds_; }

 private:
  static OperationCounter*& current() {
    thread_local OperationCounter* counter = nullptr;
    return counter;
  }

  /// What a call needs for each value of its output. Inputs can be read at the start of a call only, outputs at its
  /// end.
  struct PerOutput : at::ObserverContext {
    explicit PerOutput(double count) : multiply_adds(count) {}
    double multiply_adds;
  };

  static std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& call) {
    const std::string_view name = call.name();
    if (name == "aten::batch_norm") return std::make_unique<PerOutput>(2);
    if (name != "aten::convolution") return nullptr;
    // Input 1 is the weight (out, in / groups, kernel, kernel): what each output value sums over.
    const auto weight = call.inputs()[1].toTensor();
    return std::make_unique<PerOutput>(static_cast<double>(weight.numel() / weight.size(0)));
  }

  static void on_end(const at::RecordFunction& call, at::ObserverContext* context) {
    if (const auto* per_output = static_cast<PerOutput*>(context))
      current()->multiply_adds_ +=
          per_output->multiply_adds * static_cast<double>(call.outputs().at(0).toTensor().numel());
  }

  at::CallbackHandle handle_{};
  double multiply_adds_ = 0;
};

int64_t parameters_of_layer(const Detector& detector, size_t layer) {
  const auto prefix = "model." + std::to_string(layer) + ".";
  int64_t count = 0;
  for (const auto& item : detector.named_parameters())
    if (item.key().starts_with(prefix)) count += item.value().numel();
  return count;
}

std::string shape_text(const std::vector<std::vector<int64_t>>& shapes) {
  std::string text;
  for (const auto& shape : shapes) {
    if (!text.empty()) text.append("  ");
    for (size_t i = 0; i < shape.size(); ++i) text.append(i == 0 ? "" : "x").append(std::to_string(shape[i]));
  }
  return text;
}

std::string inputs_text(const LayerReport& layer) {
  std::string text;
  for (const int input : layer.inputs)
    text.append(text.empty() ? "" : ",").append(input < 0 ? "image" : std::to_string(input));
  return text;
}

template <typename... Values>
std::string print(const char* format, Values... values) {
  std::vector<char> line(static_cast<size_t>(std::snprintf(nullptr, 0, format, values...)) + 1);
  std::snprintf(line.data(), line.size(), format, values...);
  return line.data();
}

}  // namespace

ModelReport inspect_model(const ModelSpec& spec, int nc, int imgsz) {
  const auto detector = build_detector(spec, nc);
  const int stride = detector->max_stride();
  if (imgsz < stride || imgsz % stride != 0)
    throw ModelError("imgsz " + std::to_string(imgsz) + " is not a multiple of the stride " + std::to_string(stride));
  ModelReport report{spec.name, nc, imgsz, {}, detector->parameter_count(), 0};

  // A small picture does: maps of every layer scale with the picture, and so does the work on them. Batch statistics
  // (training mode) keep the batch norms visible and need more than one cell.
  const int small = 2 * stride;
  const int64_t scale = imgsz / stride;
  const at::NoGradGuard no_grad;
  const OperationCounter counter;
  double counted = 0;
  const auto observe = [&](size_t number, const std::vector<at::Tensor>& outputs) {
    LayerReport layer{
        spec.layers[number].block, spec.layers[number].inputs, {}, parameters_of_layer(*detector, number), 0};
    for (const auto& map : outputs) {
      const int64_t channels = map.dim() == 5 ? map.size(1) * map.size(4) : map.size(1);  // v5's anchors apart
      layer.shapes.push_back({channels, map.size(2) * scale / 2, map.size(3) * scale / 2});
    }
    layer.gflops = 2e-9 * (counter.multiply_adds() - counted) * static_cast<double>(scale * scale) / 4;
    counted = counter.multiply_adds();
    report.gflops += layer.gflops;
    report.layers.push_back(layer);
  };
  detector->train();
  detector->forward(at::zeros({1, 3, small, small}), observe);
  return report;
}

std::string render_report(const ModelReport& report) {
  std::string text = print("%s, %d classes, %dx%d\n", report.name.c_str(), report.nc, report.imgsz, report.imgsz);
  text += print("%5s  %-10s %-12s %12s %8s  %s\n", "layer", "block", "from", "parameters", "GFLOPs", "output");
  for (size_t i = 0; i < report.layers.size(); ++i) {
    const auto& layer = report.layers[i];
    text += print("%5zu  %-10s %-12s %12lld %8.2f  %s\n", i, layer.block.c_str(), inputs_text(layer).c_str(),
                  static_cast<long long>(layer.parameters), layer.gflops, shape_text(layer.shapes).c_str());
  }
  return text + print("%5s  %-10s %-12s %12lld %8.1f\n", "total", "", "", static_cast<long long>(report.parameters),
                      report.gflops);
}

}  // namespace tenfold
