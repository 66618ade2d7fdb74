#include "model.h"

#include <torch/nn/modules/container/modulelist.h>
#include <torch/utils.h>

#include <algorithm>

#include "layer.h"

namespace tenfold {
namespace {

constexpr int kImageChannels = 3;

template <typename T>
std::vector<T> pick(const std::vector<int>& inputs, const T& image, const std::vector<T>& layers) {
  std::vector<T> picked;
  for (const int input : inputs) picked.push_back(input < 0 ? image : layers[static_cast<size_t>(input)]);
  return picked;
}

}  // namespace

Detector::Detector(const ModelSpec& spec, int nc) : spec_(spec), last_reader_(spec.layers.size(), 0) {
  if (nc < 1) throw ModelError(spec.name + ": a detector needs at least one class");
  if (spec.layers.empty()) throw ModelError(spec.name + ": no layers");
  const auto model = register_module("model", std::make_shared<torch::nn::Module>());
  const MapShape image{kImageChannels, 1};
  std::vector<MapShape> shapes;
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const auto& layer_spec = spec.layers[i];
    const auto where = layer_in_text(spec, i);
    for (const int input : layer_spec.inputs)
      if (input >= 0) last_reader_[static_cast<size_t>(input)] = i;
    const auto inputs = pick(layer_spec.inputs, image, shapes);
    if (i + 1 == spec.layers.size()) {
      head_ = model->register_module(std::to_string(i), make_head(layer_spec, where, inputs, nc));
    } else {
      layers_.push_back(make_layer(layer_spec, where, inputs));
      if (layers_.back().module) model->register_module(std::to_string(i), layers_.back().module);
      shapes.push_back(layers_.back().output);
      max_stride_ = std::max(max_stride_, shapes.back().stride);
    }
  }
  for (size_t i = 0; i + 1 < spec.layers.size(); ++i)
    if (last_reader_[i] == 0) throw ModelError(layer_in_text(spec, i) + ": no layer takes its output");
  layout_ = head_->layout();
  if (layout_.family != spec.family)
    throw ModelError(layer_in_text(spec, spec.layers.size() - 1) + ": belongs to family " +
                     std::string(to_string(layout_.family)) + ", not " + std::string(to_string(spec.family)));
}

Detector::~Detector() = default;

std::vector<at::Tensor> Detector::features(const at::Tensor& images, const LayerObserver& observe) {
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i < layers_.size(); ++i) {
    outputs.push_back(layers_[i].forward(pick(spec_.layers[i].inputs, images, outputs)));
    if (observe) observe(i, {outputs.back()});
    forget_after(i, outputs);
  }
  return pick(spec_.layers.back().inputs, images, outputs);
}

std::vector<at::Tensor> Detector::forward(const at::Tensor& images, const LayerObserver& observe) {
  auto raw = head_->forward(features(images, observe));
  if (observe) observe(layers_.size(), raw);
  return raw;
}

std::vector<at::Tensor> Detector::forward_detecting(const at::Tensor& images) {
  return head_->forward_detecting(features(images, {}));
}

/// Drops the maps that no later layer takes: without gradients they are the bulk of the memory.
void Detector::forget_after(size_t layer, std::vector<at::Tensor>& outputs) const {
  for (size_t i = 0; i <= layer; ++i)
    if (last_reader_[i] <= layer) outputs[i].reset();
}

int64_t Detector::parameter_count() const {
  int64_t count = 0;
  for (const auto& parameter : parameters()) count += parameter.numel();
  return count;
}

std::shared_ptr<Detector> build_detector(const ModelSpec& spec, int nc) {
  return std::make_shared<Detector>(spec, nc);
}

std::vector<std::pair<std::string, at::Tensor>> named_state(const torch::nn::Module& model) {
  std::vector<std::pair<std::string, at::Tensor>> all;
  for (const auto& item : model.named_parameters()) all.emplace_back(item.key(), item.value());
  for (const auto& item : model.named_buffers()) all.emplace_back(item.key(), item.value());
  return all;
}

}  // namespace tenfold
