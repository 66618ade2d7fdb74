// The model yamls that are part of the binary.
#pragma once

#include <string>
#include <vector>

namespace tenfold {

struct EmbeddedModel {
  std::string stem;  ///< "yolov8"
  std::string yaml;
};

/// All of them, by name. The definition is made at build time from models/*.yaml.
const std::vector<EmbeddedModel>& embedded_models();

}  // namespace tenfold
