#include "gradient_exchange.h"

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "collective_errors.h"

namespace tenfold {
namespace {

constexpr size_t kFirstBucketBytes = size_t{1} << 20;  // small, so that the exchange begins early
constexpr size_t kBucketBytes = size_t{25} << 20;

/// Sends a full bucket on its way; the Reducer waits for it at the end of the backward pass.
class BucketAverage final : public c10d::CommHookInterface {
 public:
  BucketAverage(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch, GradientCompression compression)
      : group_(std::move(group)), watch_(watch), compression_(compression) {}

  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    ++buckets_begun_;
    at::Tensor gradients = bucket.getBufferRef().div_(group_->getSize());
    if (compression_ == GradientCompression::none) return begin_sum(gradients)->getFuture();
    const at::Tensor compressed = gradients.to(at::kBFloat16);
    return begin_sum(compressed)->getFuture()->then(
        [gradients, compressed](c10::ivalue::Future& sent) {
          sent.value();  // throws what went wrong
          gradients.copy_(compressed);
          return c10::IValue(std::vector<at::Tensor>{gradients});
        },
        c10::ListType::ofTensors());
  }

  at::Tensor parseHookResult(const c10::IValue& result) override { return c10d::detail::parseCppCommHookResult(result); }

  void begin_pass() { buckets_begun_ = 0; }

 private:
  c10::intrusive_ptr<c10d::Work> begin_sum(const at::Tensor& tensor) {
    return watch_.follow("gradients, bucket " + std::to_string(buckets_begun_), [&] {
      std::vector<at::Tensor> tensors{tensor};
      return group_->allreduce(tensors, c10d::AllreduceOptions());
    });
  }

  c10::intrusive_ptr<c10d::ProcessGroup> group_;
  StallWatch& watch_;
  GradientCompression compression_;
  size_t buckets_begun_ = 0;
};

class BucketedExchange final : public GradientExchange {
 public:
  BucketedExchange(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch, std::vector<at::Tensor> parameters,
                   const std::vector<std::string>& names, GradientCompression compression)
      : watch_(watch) {
    watch_.run("comparison of parameters", [&] { c10d::verify_params_across_processes(group, parameters, {}); });
    std::vector<std::vector<size_t>> buckets;
    std::vector<size_t> limits;
    std::tie(buckets, limits) = c10d::compute_bucket_assignment_by_size(parameters, {kFirstBucketBytes, kBucketBytes});
    // Gradients come in about the reverse order of the parameters.
    std::reverse(buckets.begin(), buckets.end());
    std::unordered_map<size_t, std::string> names_by_index;
    for (size_t i = 0; i < names.size(); ++i) names_by_index[i] = names[i];
    const size_t count = parameters.size();
    reducer_ = std::make_unique<c10d::Reducer>(
        std::move(parameters), std::move(buckets), group, std::vector<bool>(count, false),
        static_cast<int64_t>(kBucketBytes), /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/true,
        std::move(names_by_index), static_cast<int64_t>(kFirstBucketBytes), /*skip_all_reduce_unused_params=*/false,
        /*use_python_reducer=*/false, /*bucket_bytes_cap_list=*/std::vector<int64_t>{});
    auto average = std::make_unique<BucketAverage>(std::move(group), watch, compression);
    average_ = average.get();
    reducer_->register_comm_hook(std::move(average));
  }
  ~BucketedExchange() override {
    try {
      reducer_->remove_autograd_hooks();
    } catch (const std::exception&) {
      // Nothing is left that could call the hooks wrongly: the reducer goes with them.
    }
  }

  void before_forward() override {
    if (reducer_->should_rebuild_buckets()) {
      talking(watch_, [&] {
        watch_.run("order of gradient buckets", [&] { reducer_->rebuild_buckets(); });
      });
    }
    reducer_->prepare_for_forward();
  }

  /// The reducer's hooks do nothing until prepare_for_backward() tells them to expect a backward pass.
  void accumulate(const at::Tensor& loss) override { loss.backward(); }

  void backward(const at::Tensor& loss) override {
    talking(watch_, [&] {
      average_->begin_pass();
      reducer_->prepare_for_backward({});
      loss.backward();
    });
  }

 private:
  StallWatch& watch_;
  std::unique_ptr<c10d::Reducer> reducer_;
  BucketAverage* average_ = nullptr;  // the reducer's
};

}  // namespace

std::unique_ptr<GradientExchange> bucketed_exchange(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch,
                                                    std::vector<at::Tensor> parameters,
                                                    const std::vector<std::string>& names,
                                                    GradientCompression compression) {
  return std::make_unique<BucketedExchange>(std::move(group), watch, std::move(parameters), names, compression);
}

}  // namespace tenfold
