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
  int max_det = 300;         ///< v10: detections of an image
};

/// What the model's output is: "detections" of families that find each object once, else "predictions".
const char* onnx_output_name(Family family);

/// The detector as an ONNX model, its batch norms folded into the convolutions.
///   input  "images"       (B, 3, H, W) float, RGB in 0..1
///   output "predictions"  v5, v8: what `decode` gives, (B, 4 + nc, A): cx, cy, w, h in pixels of the input, then class
///                         scores; to be followed by non-maximum suppression
///   output "detections"   v10: what `best_detections` gives, (B, max_det, 6): x1, y1, x2, y2, score, class
/// It is made by running these functions and writing down the operators, so it computes what this trainer
/// computes. `metadata` goes into the model's metadata_props. Leaves the detector in eval mode.
/// Throws ModelError where a block uses an operator that has no ONNX counterpart here.
OnnxModel export_onnx(Detector& detector, const OnnxOptions& options, std::map<std::string, std::string> metadata);

}  // namespace tenfold
