#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model.h"
#include "onnx_model.h"

namespace tenfold {

/// Operator sets that the written operators mean the same in.
inline constexpr int kOldestOpset = 13;
inline constexpr int kNewestOpset = 17;

struct OnnxOptions {
  int width = 640;           ///< pixels, multiples of the detector's largest stride
  int height = 640;
  std::optional<int> batch;  ///< nullopt: any number of images
  int opset = kNewestOpset;
};

/// The detector as an ONNX model, its batch norms folded into the convolutions.
///   input  "images"       (B, 3, H, W) float, RGB in 0..1
///   output "predictions"  what `decode` gives, (B, 4 + nc, A): cx, cy, w, h in pixels of the input, then class scores; to
///                         be followed by non-maximum suppression, or for v10 by the choice of the best scores
/// It is made by running `decode(forward(images))` and writing down the operators, so it computes what this trainer
/// computes. `metadata` goes into the model's metadata_props. Leaves the detector in eval mode.
/// Throws ModelError where a block uses an operator that has no ONNX counterpart here.
OnnxModel export_onnx(Detector& detector, const OnnxOptions& options, std::map<std::string, std::string> metadata);

}  // namespace tenfold
