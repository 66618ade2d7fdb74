// What a network is made of: layers, shapes, parameters, floating-point operations.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model_spec.h"

namespace tenfold {

struct LayerReport {
  std::string block;
  std::vector<int> inputs;
  std::vector<std::vector<int64_t>> shapes;  ///< of each output: channels, height, width
  int64_t parameters = 0;
  double gflops = 0;
};

struct ModelReport {
  std::string name;
  int nc = 0;
  int imgsz = 0;
  std::vector<LayerReport> layers;
  int64_t parameters = 0;
  double gflops = 0;  ///< two a multiply-add of convolutions and batch norms, one image of imgsz x imgsz
};

/// Builds the network and looks at one forward pass. `imgsz` must be a multiple of the largest stride.
ModelReport inspect_model(const ModelSpec& spec, int nc, int imgsz);

/// The report as a table for people.
std::string render_report(const ModelReport& report);

}  // namespace tenfold
