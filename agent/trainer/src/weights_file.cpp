#include "weights_file.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

#include "model.h"
#include "exit_code.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& file, const std::string& problem) {
  throw TrainerError(ExitCode::bad_config, file.string() + ": " + problem);
}

/// With such numbers nothing is ever found, and nobody would know why.
void refuse_what_is_not_finite(const fs::path& file, const Detector& model) {
  for (const auto& [name, tensor] : named_state(model)) {
    if (tensor.is_floating_point() && !tensor.isfinite().all().item<bool>())
      refuse(file, name + " holds numbers that are NaN or infinite: the training went astray; take the weights of an earlier "
                          "epoch, or train again with a lower lr0");
  }
}

std::optional<std::string> entry(const Metadata& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() || found->second.empty() ? std::nullopt : std::optional(found->second);
}

std::optional<int> number_entry(const Metadata& metadata, const std::string& key, int high) {
  const auto text = entry(metadata, key);
  if (!text) return std::nullopt;
  int value = 0;
  const auto result = std::from_chars(text->data(), text->data() + text->size(), value);
  if (result.ec != std::errc() || result.ptr != text->data() + text->size() || value < 1 || value > high)
    return std::nullopt;
  return value;
}

/// The names of the classes; numbered ones where the file has none, or not one for each.
std::vector<std::string> names_of(const Metadata& metadata, int nc) {
  std::vector<std::string> names;
  const auto json = nlohmann::json::parse(entry(metadata, "names").value_or("[]"), nullptr, false);
  if (json.is_array())
    for (const auto& name : json)
      if (name.is_string()) names.push_back(name.get<std::string>());
  if (names.size() == static_cast<size_t>(nc)) return names;
  names.clear();
  for (int cls = 0; cls < nc; ++cls) names.push_back("class" + std::to_string(cls));
  return names;
}

/// The number after "model." of a tensor's name; -1 where there is none.
int layer_of_name(const std::string& name) {
  constexpr std::string_view kPrefix = "model.";
  int layer = -1;
  if (name.starts_with(kPrefix)) std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

const at::Tensor* find_tensor(const NamedTensors& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&](const auto& item) { return item.first == name; });
  return found == tensors.end() ? nullptr : &found->second;
}

Fit fit_described(const fs::path& file, const SafeTensors& weights, const ModelSpec& spec) {
  const auto nc = number_entry(weights.metadata, "nc", 100'000);
  const auto classes = nc ? nc : classes_of(weights.tensors);
  if (!classes) refuse(file, "does not say how many classes it is for");
  Fit fit = fit_tensors(spec, *classes, weights.tensors);
  if (!fit.complete())
    refuse(file, "does not fit " + spec.name + ": " + std::to_string(fit.wanted - fit.fitting) + " of its " +
                     std::to_string(fit.wanted) + " tensors are missing or have another shape");
  return fit;
}

Fit fit_undescribed(const fs::path& file, const SafeTensors& weights) {
  auto fit = best_built_in_fit(weights.tensors, number_entry(weights.metadata, "nc", 100'000));
  if (fit && fit->complete()) return std::move(*fit);
  std::string closest;
  if (fit)
    closest = " (closest: " + fit->model->spec().name + ", of which it has " + std::to_string(fit->fitting) + " of " +
              std::to_string(fit->wanted) + " tensors)";
  refuse(file, "does not say which network it belongs to, and fits none of the built-in ones" + closest +
                   "; name its model yaml with arch=");
}

}  // namespace

Metadata weights_metadata(const Detector& model, const std::string& arch, const std::vector<std::string>& names,
                          int64_t imgsz) {
  return {{"arch", arch},
          {"model_yaml", model.spec().yaml},
          {"model_size", model.spec().size},
          {"names", nlohmann::json(names).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)},
          {"nc", std::to_string(model.nc())},
          {"stride", std::to_string(model.max_stride())},
          {"imgsz", std::to_string(imgsz)},
          {"trainer", std::string("tenfold-trainer ") + TENFOLD_VERSION}};
}

SafeTensors read_weights(const fs::path& file) {
  if (file.extension() == ".pt" || file.extension() == ".pth")
    refuse(file, "is a PyTorch checkpoint; make it into weights first: tenfold-trainer import " + file.string());
  if (!fs::is_regular_file(file)) refuse(file, "there is no such file");
  try {
    return read_safetensors(file);
  } catch (const SafeTensorsError& error) {
    throw TrainerError(ExitCode::bad_config, error.what());
  }
}

std::optional<ModelSpec> described_network(const Metadata& metadata) {
  const auto arch = entry(metadata, "arch");
  if (const auto yaml = entry(metadata, "model_yaml")) {
    ModelSpec spec = parse_model_spec(*yaml, entry(metadata, "model_size").value_or(""), arch.value_or("model") + " (in the weights)");
    spec.name = arch.value_or(spec.name);
    return spec;
  }
  if (arch) return load_model_spec(*arch);
  return std::nullopt;
}

LoadedDetector load_detector(const fs::path& file, const std::optional<std::string>& arch) {
  constexpr int kLargestSide = 1 << 16;
  const SafeTensors weights = read_weights(file);
  const auto spec = arch ? load_model_spec(*arch) : described_network(weights.metadata);
  Fit fit = spec ? fit_described(file, weights, *spec) : fit_undescribed(file, weights);
  refuse_what_is_not_finite(file, *fit.model);
  fit.model->eval();
  for (at::Tensor& parameter : fit.model->parameters()) parameter.set_requires_grad(false);
  LoadedDetector loaded;
  loaded.arch = arch ? *arch : entry(weights.metadata, "arch").value_or(fit.model->spec().name);
  loaded.names = names_of(weights.metadata, fit.model->nc());
  loaded.imgsz = number_entry(weights.metadata, "imgsz", kLargestSide).value_or(640);
  loaded.model = std::move(fit.model);
  return loaded;
}

Fit fit_tensors(const ModelSpec& spec, int nc, const NamedTensors& tensors) {
  const at::NoGradGuard no_grad;
  Fit fit{build_detector(spec, nc)};
  const std::map<std::string, at::Tensor> by_name(tensors.begin(), tensors.end());
  for (const auto& [name, tensor] : named_state(*fit.model)) {
    ++fit.wanted;
    const auto found = by_name.find(name);
    if (found == by_name.end() || found->second.sizes() != tensor.sizes()) continue;
    tensor.copy_(found->second);
    ++fit.fitting;
  }
  return fit;
}

std::optional<Fit> best_built_in_fit(const NamedTensors& tensors, std::optional<int> nc) {
  const at::Tensor* first = find_tensor(tensors, "model.0.conv.weight");
  if (!nc) nc = classes_of(tensors);
  if (first == nullptr || first->dim() != 4 || !nc) return std::nullopt;
  std::optional<Fit> best;
  for (const std::string& name : built_in_models()) {
    const ModelSpec spec = load_model_spec(name);
    // Building one takes up to a second; the width of the first layer leaves one or two of each family.
    if (spec.layers.front().channels != first->size(0)) continue;
    Fit fit = fit_tensors(spec, *nc, tensors);
    if (fit.fitting > 0 && (!best || fit.fitting * best->wanted > best->fitting * fit.wanted)) best = std::move(fit);
  }
  return best;
}

std::optional<int> classes_of(const NamedTensors& tensors) {
  constexpr int64_t kAnchorsOfACell = 3, kBoxAndObjectness = 5;
  int last = -1;
  for (const auto& [name, tensor] : tensors) last = std::max(last, layer_of_name(name));
  const std::string head = "model." + std::to_string(last) + ".";
  if (const at::Tensor* scores = find_tensor(tensors, head + "cv3.0.2.weight"); scores != nullptr && scores->dim() == 4)
    return static_cast<int>(scores->size(0));
  const at::Tensor* all = find_tensor(tensors, head + "m.0.weight");
  if (all == nullptr || all->dim() != 4) return std::nullopt;
  const at::Tensor* anchors = find_tensor(tensors, head + "anchors");
  const int64_t shapes = anchors != nullptr && anchors->dim() == 3 ? anchors->size(1) : kAnchorsOfACell;
  const int64_t classes = shapes > 0 ? all->size(0) / shapes - kBoxAndObjectness : 0;
  return classes > 0 ? std::optional(static_cast<int>(classes)) : std::nullopt;
}

}  // namespace tenfold
