// Weights as files: what they say about the network they belong to, and the way back to a detector.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model.h"
#include "safetensors.h"

namespace tenfold {

/// What a weights file says about its network. The model yaml's text travels along, so that a network of a user's own
/// needs nothing beside its weights. `arch` is what people may call it.
Metadata weights_metadata(const Detector& model, const std::string& arch, const std::vector<std::string>& names,
                          int64_t imgsz);

/// Reads a weights file. Throws TrainerError(bad_config) where it is no safetensors file, and says how to make one where
/// it is a PyTorch checkpoint; std::system_error where it cannot be read.
SafeTensors read_weights(const std::filesystem::path& file);

/// The network that a file's metadata describes; nothing where it describes none. Throws ModelError.
std::optional<ModelSpec> described_network(const Metadata& metadata);

struct LoadedDetector {
  std::shared_ptr<Detector> model;  ///< on the CPU, in eval mode
  std::string arch;                 ///< "yolov8n", or what the weights were trained as
  std::vector<std::string> names;   ///< of the classes
  int imgsz = 640;                  ///< that it was trained at
};

/// Reads a weights file and builds the network that its metadata describes, or, where it describes none, the built-in one
/// whose tensors have the same names and shapes. `arch` (a built-in name or a model yaml) overrules both.
/// Throws TrainerError(bad_config) where the file is no safetensors file or fits no network.
LoadedDetector load_detector(const std::filesystem::path& file, const std::optional<std::string>& arch);

/// How well the tensors of a file fit a network.
struct Fit {
  std::shared_ptr<Detector> model;  ///< with the tensors that fit
  int64_t fitting = 0;              ///< tensors of the same name and shape
  int64_t wanted = 0;               ///< tensors that the network has
  bool complete() const { return fitting == wanted; }
};

/// Builds `spec` and copies into it what fits.
Fit fit_tensors(const ModelSpec& spec, int nc, const NamedTensors& tensors);

/// The built-in network that the tensors fit best; nothing where none has anything in common with them.
std::optional<Fit> best_built_in_fit(const NamedTensors& tensors, std::optional<int> nc);

/// The number of classes that the last layer's tensors are made for; nothing where that cannot be told.
std::optional<int> classes_of(const NamedTensors& tensors);

}  // namespace tenfold
