#include "gradient_pass.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "depthwise.h"
#include "validate.h"

namespace tenfold {
namespace {

/// Puts the running statistics of batch norms back at its end: a run that only looks must leave no trace.
class StatisticsKeeper {
 public:
  explicit StatisticsKeeper(const Detector& model) : buffers_(model.buffers()) {
    for (const at::Tensor& buffer : buffers_) saved_.push_back(buffer.clone());
  }
  ~StatisticsKeeper() {
    for (size_t i = 0; i < buffers_.size(); ++i) buffers_[i].copy_(saved_[i]);
  }
  StatisticsKeeper(const StatisticsKeeper&) = delete;
  StatisticsKeeper& operator=(const StatisticsKeeper&) = delete;

 private:
  std::vector<at::Tensor> buffers_;
  std::vector<at::Tensor> saved_;
};

at::Tensor times(const at::Tensor& loss, double factor) { return factor == 1 ? loss : loss * factor; }

void add_to(LossResult& sum, const LossResult& part) {
  sum.total = sum.total.defined() ? sum.total + part.total.detach() : part.total.detach();
  sum.items = sum.items.defined() ? sum.items + part.items : part.items;
}

}  // namespace

std::vector<Batch> parts_of(const Batch& slice, int64_t count) {
  const int64_t images = slice.images.size(0);
  const at::Tensor image_of_target = slice.targets.select(1, 0);
  std::vector<Batch> parts;
  int64_t first = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t size = images / count + (i < images % count ? 1 : 0);
    Batch part;
    part.images = slice.images.narrow(0, first, size);
    part.targets = slice.targets.index({image_of_target.ge(first).logical_and_(image_of_target.lt(first + size))});
    part.targets.select(1, 0).sub_(first);
    parts.push_back(std::move(part));
    first += size;
  }
  return parts;
}

/// What the losses of all parts of all ranks divide by.
at::Tensor GradientPass::whole_normalisers(const std::vector<Batch>& parts) {
  const at::NoGradGuard no_grad;
  const StatisticsKeeper keeper(model_);
  at::Tensor sum;
  for (const Batch& part : parts) {
    const at::Tensor own = terms_of_slice(model_, loss_, part, device_).normalisers;
    sum = sum.defined() ? sum + own : own;
  }
  return loss_.over_ranks(sum);
}

LossResult GradientPass::run(const Batch& slice, const PassOptions& options,
                             const std::function<void()>& before_exchange) {
  const CompiledDepthwise scope(options.compiled);
  if (options.parts == 1) {
    exchange_.before_forward();
    LossResult loss = loss_of_slice(model_, loss_, slice, device_);
    before_exchange();
    exchange_.backward(times(loss.total, options.loss_scale));
    return loss;
  }
  const std::vector<Batch> parts = parts_of(slice, options.parts);
  const at::Tensor whole = whole_normalisers(parts);
  LossResult sum;
  for (const Batch& part : parts) {
    const bool last = &part == &parts.back();
    if (last) exchange_.before_forward();
    const LossResult loss = loss_.divide(terms_of_slice(model_, loss_, part, device_), whole);
    if (last) before_exchange();
    const at::Tensor total = times(loss.total, options.loss_scale);
    last ? exchange_.backward(total) : exchange_.accumulate(total);
    add_to(sum, loss);
  }
  return sum;
}

}  // namespace tenfold
