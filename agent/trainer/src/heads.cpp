#include "heads.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "blocks_compact.h"
#include "convolution.h"

namespace tenfold {
namespace {

/// Side in pixels of the picture that the first scores are made for.
constexpr double kTypicalSide = 640;

double cells_of(int stride) { return std::pow(kTypicalSide / stride, 2); }

/// Fixed 1x1 convolution that takes the mean of a distribution over bins (Li et al., "Generalized Focal Loss", 2020).
/// Decoding computes the mean directly; the module exists because published checkpoints carry its weights.
class DflBins : public torch::nn::Module {
 public:
  explicit DflBins(int bins) {
    const auto conv = register_module("conv", torch::nn::Conv2d(torch::nn::Conv2dOptions(bins, 1, 1).bias(false)));
    conv->weight.set_data(at::arange(bins, at::kFloat).view({1, bins, 1, 1}));
    conv->weight.set_requires_grad(false);
  }
};

/// Starts the class scores at the rate of about five objects in a typical picture, spread over classes and cells, so
/// that the first steps are not spent on learning that most anchors are background.
void initialise_biases(const DecoupledBranches& branches, const HeadLayout& layout) {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < branches.box.size(); ++i) {
    branches.box[i]->last->bias.fill_(1.0);
    branches.cls[i]->last->bias.fill_(std::log(5.0 / layout.nc / cells_of(layout.strides[i])));
  }
}

/// Branches of two Convs each; the class branches' Convs are separable where `separable`.
DecoupledBranches make_branches(const std::vector<int64_t>& channels, const HeadLayout& layout, bool separable) {
  const int64_t sides = 4 * layout.reg_max;
  const int64_t box_hidden = std::max({int64_t{16}, channels.front() / 4, sides});
  const int64_t cls_hidden = std::max<int64_t>(channels.front(), std::min(layout.nc, 100));
  const auto cls_block = [&](int64_t in) -> std::shared_ptr<Block> {
    if (separable) return separable_conv(in, cls_hidden);
    return std::make_shared<Conv>(in, cls_hidden, 3);
  };
  using Blocks = std::vector<std::shared_ptr<Block>>;
  DecoupledBranches branches;
  for (const auto in : channels) {
    branches.box.push_back(std::make_shared<HeadBranch>(
        Blocks{std::make_shared<Conv>(in, box_hidden, 3), std::make_shared<Conv>(box_hidden, box_hidden, 3)},
        box_hidden, sides));
    branches.cls.push_back(
        std::make_shared<HeadBranch>(Blocks{cls_block(in), cls_block(cls_hidden)}, cls_hidden, layout.nc));
  }
  initialise_biases(branches, layout);
  return branches;
}

torch::nn::ModuleList list_of(const std::vector<std::shared_ptr<HeadBranch>>& branches) {
  torch::nn::ModuleList list;
  for (const auto& branch : branches) list->push_back(branch);
  return list;
}

void copy_parameters(const torch::nn::Module& from, torch::nn::Module& to) {
  const torch::NoGradGuard no_grad;
  const auto source = from.parameters();
  auto target = to.parameters();
  for (size_t i = 0; i < source.size(); ++i) target[i].copy_(source[i]);
}

}  // namespace

HeadBranch::HeadBranch(std::vector<std::shared_ptr<Block>> blocks, int64_t hidden, int64_t out)
    : blocks_(std::move(blocks)) {
  for (size_t i = 0; i < blocks_.size(); ++i) register_module(std::to_string(i), blocks_[i]);
  last = register_module(std::to_string(blocks_.size()), torch::nn::Conv2d(torch::nn::Conv2dOptions(hidden, out, 1)));
}

at::Tensor HeadBranch::forward(const at::Tensor& x) {
  auto y = x;
  for (const auto& block : blocks_) y = block->forward(y);
  return convolve_exactly(*last, y);
}

std::vector<at::Tensor> DecoupledBranches::forward(const std::vector<at::Tensor>& inputs) const {
  std::vector<at::Tensor> raw;
  for (size_t i = 0; i < inputs.size(); ++i)
    raw.push_back(at::cat({box[i]->forward(inputs[i]), cls[i]->forward(inputs[i])}, 1));
  return raw;
}

Detect::Detect(const std::vector<int64_t>& channels, const std::vector<int>& strides, int nc, int reg_max)
    : layout_{Family::v8, nc, strides, reg_max, {}}, branches_(make_branches(channels, layout_, false)) {
  register_module("cv2", list_of(branches_.box));
  register_module("cv3", list_of(branches_.cls));
  register_module("dfl", std::make_shared<DflBins>(reg_max));
}

DualDetect::DualDetect(const std::vector<int64_t>& channels, const std::vector<int>& strides, int nc, int reg_max)
    : layout_{Family::v10, nc, strides, reg_max, {}},
      one_to_many_(make_branches(channels, layout_, true)),
      one_to_one_(make_branches(channels, layout_, true)) {
  const auto many_box = register_module("cv2", list_of(one_to_many_.box));
  const auto many_cls = register_module("cv3", list_of(one_to_many_.cls));
  register_module("dfl", std::make_shared<DflBins>(reg_max));
  const auto one_box = register_module("one2one_cv2", list_of(one_to_one_.box));
  const auto one_cls = register_module("one2one_cv3", list_of(one_to_one_.cls));
  // Both begin alike, so that they rank the anchors alike.
  copy_parameters(*many_box, *one_box);
  copy_parameters(*many_cls, *one_cls);
}

std::vector<at::Tensor> DualDetect::forward(const std::vector<at::Tensor>& inputs) {
  auto raw = one_to_many_.forward(inputs);
  for (auto& map : forward_detecting(inputs)) raw.push_back(std::move(map));
  return raw;
}

std::vector<at::Tensor> DualDetect::forward_detecting(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> features;
  for (const auto& input : inputs) features.push_back(input.detach());
  return one_to_one_.forward(features);
}

AnchorDetect::AnchorDetect(const std::vector<int64_t>& channels, const std::vector<int>& strides, int nc,
                           const std::vector<double>& anchors)
    : layout_{Family::v5, nc, strides, 0, {}} {
  const auto scales = static_cast<int64_t>(strides.size());
  const auto stride = at::tensor(strides, at::kFloat).view({scales, 1, 1});
  const auto in_cells = at::tensor(anchors, at::kFloat).view({scales, -1, 2}) / stride;
  layout_.anchors = register_buffer("anchors", in_cells);
  const auto list = register_module("m", torch::nn::ModuleList());
  for (const auto in : channels) {
    convs_.emplace_back(torch::nn::Conv2dOptions(in, in_cells.size(1) * (5 + nc), 1));
    list->push_back(convs_.back());
  }
  initialise_biases();
}

std::vector<at::Tensor> AnchorDetect::forward(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> raw;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto map = convolve_exactly(*convs_[i], inputs[i]);
    // A view of it in another order does.
    raw.push_back(map.unflatten(1, {layout_.anchors.size(1), 5 + layout_.nc}).permute({0, 1, 3, 4, 2}));
  }
  return raw;
}

/// Objectness begins at the rate of eight objects in a typical picture, and a class at 0.6 of what an equal share would
/// be (Lin et al., "Focal Loss", 2017, section 4.1, on the prior of rare classes).
void AnchorDetect::initialise_biases() {
  const torch::NoGradGuard no_grad;
  for (size_t i = 0; i < convs_.size(); ++i) {
    const auto bias = convs_[i]->bias.view({-1, 5 + layout_.nc});
    bias.select(1, 4) += std::log(8 / cells_of(layout_.strides[i]));
    bias.narrow(1, 5, layout_.nc) += std::log(0.6 / (layout_.nc - 0.99999));
  }
}

}  // namespace tenfold
