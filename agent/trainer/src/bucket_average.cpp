#include "bucket_average.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace tenfold {
namespace {

using FutureBucket = c10::intrusive_ptr<c10::ivalue::Future>;

/// Sums over the ranks, one for each bucket of a pass, which the watch knows by its number.
class BucketSums {
 public:
  BucketSums(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch) : group_(std::move(group)), watch_(watch) {}

  int ranks() const { return group_->getSize(); }
  void begin_pass() { begun_ = 0; }

  c10::intrusive_ptr<c10d::Work> begin(const at::Tensor& tensor) {
    return watch_.follow("gradients, bucket " + std::to_string(++begun_), [&] {
      std::vector<at::Tensor> tensors{tensor};
      return group_->allreduce(tensors, c10d::AllreduceOptions());
    });
  }

 private:
  c10::intrusive_ptr<c10d::ProcessGroup> group_;
  StallWatch& watch_;
  size_t begun_ = 0;
};

/// When `sent` is there, `finish` makes the bucket's result of it.
template <typename Finish>
FutureBucket then(c10d::Work& sent, const at::Tensor& bucket, Finish finish) {
  return sent.getFuture()->then(
      [bucket, finish = std::move(finish)](c10::ivalue::Future& future) {
        future.value();  // throws what went wrong
        finish();
        return c10::IValue(std::vector<at::Tensor>{bucket});
      },
      c10::ListType::ofTensors());
}

class AverageByGroup final : public BucketAverage {
 public:
  AverageByGroup(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch, GradientCompression compression)
      : sums_(std::move(group), watch), compression_(compression) {}

  void begin_pass() override { sums_.begin_pass(); }

  FutureBucket runHook(c10d::GradBucket& bucket) override {
    const at::Tensor gradients = bucket.getBufferRef().div_(sums_.ranks());
    if (compression_ == GradientCompression::none) return sums_.begin(gradients)->getFuture();
    const at::Tensor compressed = gradients.to(at::kBFloat16);
    return then(*sums_.begin(compressed), gradients, [gradients, compressed] { gradients.copy_(compressed); });
  }

 private:
  BucketSums sums_;
  GradientCompression compression_;
};

/// A rank that writes the gradients of a pass knows that the other has read those of the pass before the last: it has
/// written those of the last one since. So there is room for two passes.
constexpr size_t kPasses = 2;

class AverageInMemory final : public BucketAverage {
 public:
  AverageInMemory(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch, std::shared_ptr<SharedMemory> memory)
      : sums_(std::move(group), watch), memory_(std::move(memory)) {}

  void begin_pass() override {
    sums_.begin_pass();
    pass_ = (pass_ + 1) % kPasses;
    next_ = pass_ * bytes_of_pass();
  }

  FutureBucket runHook(c10d::GradBucket& bucket) override {
    const at::Tensor gradients = bucket.getBufferRef();
    const size_t place = std::exchange(next_, next_ + gradients.nbytes());
    TORCH_CHECK(next_ <= (pass_ + 1) * bytes_of_pass(), "buckets hold more than all gradients");
    at::Tensor own = at::from_blob(memory_->own_part().data() + place, gradients.sizes(), gradients.options());
    at::div_out(own, gradients, at::scalar_tensor(sums_.ranks()));
    std::atomic_thread_fence(std::memory_order_release);
    const auto both_have_written = sums_.begin(at::zeros({1}));
    return then(*both_have_written, gradients, [gradients, place, memory = memory_] {
      std::atomic_thread_fence(std::memory_order_acquire);
      add_up(*memory, place, gradients);
    });
  }

 private:
  size_t bytes_of_pass() const { return memory_->own_part().size() / kPasses; }

  /// One loop, for it runs in a thread of Gloo's, where ATen would start threads of its own.
  static void add_up(SharedMemory& memory, size_t place, const at::Tensor& sum) {
    const auto* own = reinterpret_cast<const float*>(memory.own_part().data() + place);
    const auto* others = reinterpret_cast<const float*>(memory.others_part().data() + place);
    std::transform(own, own + sum.numel(), others, sum.mutable_data_ptr<float>(), std::plus<>());
  }

  BucketSums sums_;
  std::shared_ptr<SharedMemory> memory_;  // of callbacks that are yet to run, too
  size_t pass_ = 0;
  size_t next_ = 0;  // byte of the parts where the next bucket goes
};

}  // namespace

std::unique_ptr<BucketAverage> average_by_group(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch,
                                                GradientCompression compression) {
  return std::make_unique<AverageByGroup>(std::move(group), watch, compression);
}

size_t shared_bytes_for(int64_t gradients) { return static_cast<size_t>(gradients) * sizeof(float) * kPasses; }

std::unique_ptr<BucketAverage> average_in_memory(c10::intrusive_ptr<c10d::ProcessGroup> group, StallWatch& watch,
                                                 std::unique_ptr<SharedMemory> memory) {
  return std::make_unique<AverageInMemory>(std::move(group), watch, std::move(memory));
}

}  // namespace tenfold
