#include "test_detectors.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "model.h"
#include "weights_file.h"

namespace tenfold::testing {

std::shared_ptr<Detector> lively_detector(const std::string& arch, int nc) {
  at::manual_seed(7);
  auto model = build_detector(load_model_spec(arch), nc);
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : named_state(*model)) {
    at::Tensor values = tensor;
    if (name.ends_with("running_mean")) values.normal_(0, 0.2);
    if (name.ends_with("running_var")) values.uniform_(0.5, 1.5);
    if (name.ends_with("bn.weight")) values.uniform_(0.8, 1.6);
    if (name.ends_with("bn.bias")) values.normal_(0, 0.3);
  }
  model->eval();
  return model;
}

std::shared_ptr<Detector> one_box_detector() {
  auto model = build_detector(load_model_spec("yolov8n"), 3);
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : named_state(*model)) {
    at::Tensor values = tensor;
    const bool boxes = name.starts_with("model.22.cv2."), scores = name.starts_with("model.22.cv3.");
    if (!(boxes || scores) || name.find(".2.weight") == std::string::npos) {
      if (!(boxes || scores) || !name.ends_with(".2.bias")) continue;
      const bool coarsest = name[std::string("model.22.cv3.").size()] == '2';
      values.fill_(scores ? -20 : -30);
      // A side is a quarter of the stride of 32 pixels away: bin 0 with three quarters, bin 1 with one.
      if (boxes) {
        const at::Tensor sides = values.view({4, 16});
        sides.select(1, 0).fill_(std::log(3.0));
        sides.select(1, 1).fill_(0);
      }
      if (scores && coarsest) values[0].fill_(std::log(9.0));
    } else if (tensor.dim() == 4) {
      values.zero_();
    }
  }
  model->eval();
  return model;
}

void write_detector(const std::filesystem::path& file, const Detector& model, const std::string& arch,
                    const std::vector<std::string>& names, int imgsz) {
  write_safetensors(file, named_state(model), weights_metadata(model, arch, names, imgsz));
}

}  // namespace tenfold::testing
