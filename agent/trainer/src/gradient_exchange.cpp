#include "gradient_exchange.h"

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "bucket_average.h"
#include "collective_errors.h"

namespace tenfold {
namespace {

constexpr size_t kFirstBucketBytes = size_t{1} << 20;  // small, so that the exchange begins early
constexpr size_t kBucketBytes = size_t{25} << 20;

int64_t count_of(const std::vector<at::Tensor>& parameters) {
  int64_t count = 0;
  for (const at::Tensor& parameter : parameters) count += parameter.numel();
  return count;
}

/// Null where the ranks are not two, or one cannot have it. Two alone, for their sum is the same in either order; what more
/// make depends on the order, and a training that goes on elsewhere, over connections, would not be the same to the bit.
std::unique_ptr<SharedMemory> memory_for(c10d::ProcessGroup& group, StallWatch& watch,
                                         const std::vector<at::Tensor>& parameters, bool one_host) {
  if (group.getSize() != 2) return nullptr;
  const auto fits = [](const at::Tensor& each) { return each.is_cpu() && each.scalar_type() == at::kFloat; };
  // What one rank sees here the other may see otherwise: both ask.
  const bool wanted = one_host && std::ranges::all_of(parameters, fits);
  std::unique_ptr<SharedMemory> memory;
  watch.run("shared memory",
            [&] { memory = SharedMemory::open(group, shared_bytes_for(count_of(parameters)), wanted); });
  return memory;
}

std::unique_ptr<BucketAverage> average_for(const c10::intrusive_ptr<c10d::ProcessGroup>& group, StallWatch& watch,
                                           const std::vector<at::Tensor>& parameters, const ExchangeOptions& options) {
  if (options.compression == GradientCompression::none) {
    auto memory = memory_for(*group, watch, parameters, options.one_host);
    if (memory) return average_in_memory(group, watch, std::move(memory));
  }
  return average_by_group(group, watch, options.compression);
}

class BucketedExchange final : public GradientExchange {
 public:
  BucketedExchange(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch, std::vector<at::Tensor> parameters,
                   const std::vector<std::string>& names, const ExchangeOptions& options)
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
    auto average = average_for(group, watch, parameters, options);
    average_ = average.get();
    reducer_ = std::make_unique<c10d::Reducer>(
        std::move(parameters), std::move(buckets), group, std::vector<bool>(count, false),
        static_cast<int64_t>(kBucketBytes), /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/true,
        std::move(names_by_index), static_cast<int64_t>(kFirstBucketBytes), /*skip_all_reduce_unused_params=*/false,
        /*use_python_reducer=*/false, /*bucket_bytes_cap_list=*/std::vector<int64_t>{});
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
                                                    const ExchangeOptions& options) {
  return std::make_unique<BucketedExchange>(std::move(group), watch, std::move(parameters), names, options);
}

}  // namespace tenfold
