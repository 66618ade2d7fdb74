// One layer of a network: a block bound to its description.
#pragma once

#include <torch/nn/module.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "heads.h"
#include "model_spec.h"

namespace tenfold {

/// A map that a layer gives or takes.
struct MapShape {
  int64_t channels;
  int stride;  ///< pixels of the image per cell
};

struct Layer {
  std::shared_ptr<torch::nn::Module> module;  ///< its parameters; null where it has none
  std::function<at::Tensor(const std::vector<at::Tensor>&)> forward;
  MapShape output;
};

/// Builds a layer, fed with `inputs`. `where` is what errors call it. Throws ModelError where block, keys or inputs do not
/// fit.
Layer make_layer(const LayerSpec& spec, const std::string& where, const std::vector<MapShape>& inputs);

/// Builds the last layer. Throws ModelError in the same way.
std::shared_ptr<Head> make_head(const LayerSpec& spec, const std::string& where, const std::vector<MapShape>& inputs,
                                int nc);

}  // namespace tenfold
