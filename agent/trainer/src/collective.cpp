#include "collective.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>
#include <unordered_map>

#include "collective_backend.h"
#include "exit_code.h"
#include "failure.h"

namespace tenfold {
namespace {

constexpr size_t kFirstBucketBytes = size_t{1} << 20;  // small, so that the exchange begins early
constexpr size_t kBucketBytes = size_t{25} << 20;
constexpr size_t kBroadcastBytes = size_t{25} << 20;

bool mentions(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) { return text.find(word) != text.npos; });
}

/// Runs `work`, which talks to other ranks; c10d's and Gloo's exceptions become ours. They have no classes that would
/// tell a lost peer from a timeout, so their texts decide.
template <typename Work>
auto talking(const char* doing, Work&& work) {
  try {
    return work();
  } catch (const TrainerError&) {
    throw;
  } catch (...) {
    const Ending failure = failure_of(std::current_exception());
    const std::string message = std::string(doing) + ": " + failure.message;
    if (mentions(failure.message, {"imed out", "imeout"})) throw TrainerError(ExitCode::collective_timeout, message);
    if (mentions(failure.message, {"onnection closed", "onnection reset", "Read error", "Write error", "Broken pipe",
                                   "onnection refused", "remote process exited", "Socket"})) {
      throw TrainerError(ExitCode::peer_lost, message);
    }
    throw;
  }
}

class Alone final : public Communicator {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  std::string backend() const override { return "none"; }
  at::Tensor sum(at::Tensor tensor) override { return tensor; }
  std::unique_ptr<PendingReduction> begin_max(at::Tensor tensor) override {
    struct Done final : PendingReduction {
      explicit Done(at::Tensor result) : result_(std::move(result)) {}
      at::Tensor wait() override { return result_; }
      at::Tensor result_;
    };
    return std::make_unique<Done>(std::move(tensor));
  }
  void broadcast(const std::vector<at::Tensor>&) override {}
  std::vector<at::Tensor> gather_rows(const at::Tensor& rows) override { return {rows}; }
  std::unique_ptr<GradientExchange> exchange_gradients(std::vector<at::Tensor>,
                                                       const std::vector<std::string>&) override {
    struct Plain final : GradientExchange {
      void before_forward() override {}
      void accumulate(const at::Tensor& loss) override { loss.backward(); }
      void backward(const at::Tensor& loss) override { loss.backward(); }
    };
    return std::make_unique<Plain>();
  }
};

class WorkReduction final : public PendingReduction {
 public:
  WorkReduction(c10::intrusive_ptr<c10d::Work> work, at::Tensor tensor)
      : work_(std::move(work)), tensor_(std::move(tensor)) {}
  at::Tensor wait() override {
    talking("agreeing with the other ranks", [&] { work_->wait(); });
    return tensor_;
  }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
  at::Tensor tensor_;
};

/// c10d's Reducer: gradients are gathered in buckets, and a bucket is averaged as soon as it is full.
class ReducerExchange final : public GradientExchange {
 public:
  ReducerExchange(c10::intrusive_ptr<c10d::ProcessGroup> group, std::vector<at::Tensor> parameters,
                  const std::vector<std::string>& names) {
    c10d::verify_params_across_processes(group, parameters, {});
    std::vector<std::vector<size_t>> buckets;
    std::vector<size_t> limits;
    std::tie(buckets, limits) =
        c10d::compute_bucket_assignment_by_size(parameters, {kFirstBucketBytes, kBucketBytes});
    // Gradients come in about the reverse order of the parameters.
    std::reverse(buckets.begin(), buckets.end());
    std::unordered_map<size_t, std::string> names_by_index;
    for (size_t i = 0; i < names.size(); ++i) names_by_index[i] = names[i];
    const size_t count = parameters.size();
    reducer_ = std::make_unique<c10d::Reducer>(
        std::move(parameters), std::move(buckets), std::move(group), std::vector<bool>(count, false),
        static_cast<int64_t>(kBucketBytes), /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/true,
        std::move(names_by_index), static_cast<int64_t>(kFirstBucketBytes), /*skip_all_reduce_unused_params=*/false,
        /*use_python_reducer=*/false, /*bucket_bytes_cap_list=*/std::vector<int64_t>{});
  }
  ~ReducerExchange() override {
    try {
      reducer_->remove_autograd_hooks();
    } catch (const std::exception&) {
      // Nothing is left that could call the hooks wrongly: the reducer goes with them.
    }
  }

  void before_forward() override {
    talking("agreeing on gradient buckets", [&] {
      if (reducer_->should_rebuild_buckets()) reducer_->rebuild_buckets();
    });
    reducer_->prepare_for_forward();
  }

  /// The reducer's hooks do nothing until prepare_for_backward() tells them to expect a backward pass.
  void accumulate(const at::Tensor& loss) override { loss.backward(); }

  void backward(const at::Tensor& loss) override {
    talking("exchanging gradients", [&] {
      reducer_->prepare_for_backward({});
      loss.backward();
    });
  }

 private:
  std::unique_ptr<c10d::Reducer> reducer_;
};

class Group final : public Communicator {
 public:
  Group(c10::intrusive_ptr<c10d::ProcessGroup> group, std::string backend)
      : group_(std::move(group)), backend_(std::move(backend)) {}

  int rank() const override { return group_->getRank(); }
  int world_size() const override { return group_->getSize(); }
  std::string backend() const override { return backend_; }

  at::Tensor sum(at::Tensor tensor) override {
    talking("summing over the ranks", [&] { reduce(tensor, c10d::ReduceOp::SUM)->wait(); });
    return tensor;
  }

  std::unique_ptr<PendingReduction> begin_max(at::Tensor tensor) override {
    return talking("agreeing with the other ranks", [&]() -> std::unique_ptr<PendingReduction> {
      auto work = reduce(tensor, c10d::ReduceOp::MAX);
      return std::make_unique<WorkReduction>(std::move(work), tensor);
    });
  }

  void broadcast(const std::vector<at::Tensor>& tensors) override {
    const at::NoGradGuard no_grad;
    // Only tensors of one type can share a message.
    std::map<at::ScalarType, std::vector<at::Tensor>> by_type;
    for (const at::Tensor& tensor : tensors) by_type[tensor.scalar_type()].push_back(tensor.detach());
    talking("copying the state of rank 0", [&] {
      for (const auto& [type, group] : by_type) c10d::broadcast_coalesced(group_, group, kBroadcastBytes, 0);
    });
  }

  std::vector<at::Tensor> gather_rows(const at::Tensor& rows) override {
    const int world = world_size();
    const at::Tensor counts = at::zeros({world}, at::kLong);
    counts[rank()].fill_(rows.size(0));
    sum(counts);
    const int64_t most = std::max<int64_t>(counts.max().item<int64_t>(), 1);
    at::Tensor padded = at::zeros({most, rows.size(1)}, rows.options());
    padded.narrow(0, 0, rows.size(0)).copy_(rows);
    std::vector<std::vector<at::Tensor>> received(1);
    for (int r = 0; r < world; ++r) received[0].push_back(at::zeros_like(padded));
    std::vector<at::Tensor> sent{padded};
    talking("gathering from the ranks", [&] { group_->allgather(received, sent)->wait(); });
    for (int r = 0; r < world; ++r) received[0][r] = received[0][r].narrow(0, 0, counts[r].item<int64_t>());
    return received[0];
  }

  std::unique_ptr<GradientExchange> exchange_gradients(std::vector<at::Tensor> parameters,
                                                       const std::vector<std::string>& names) override {
    return talking("comparing the model with the other ranks'", [&]() -> std::unique_ptr<GradientExchange> {
      return std::make_unique<ReducerExchange>(group_, std::move(parameters), names);
    });
  }

 private:
  c10::intrusive_ptr<c10d::Work> reduce(const at::Tensor& tensor, c10d::ReduceOp::RedOpType op) {
    c10d::AllreduceOptions options;
    options.reduceOp = op;
    std::vector<at::Tensor> tensors{tensor};
    return group_->allreduce(tensors, options);
  }

  c10::intrusive_ptr<c10d::ProcessGroup> group_;
  std::string backend_;
};

}  // namespace

std::unique_ptr<Communicator> alone() { return std::make_unique<Alone>(); }

std::unique_ptr<Communicator> join(const Rendezvous& rendezvous) {
  const bool nccl =
      rendezvous.backend == "nccl" || (rendezvous.backend == "auto" && rendezvous.device.is_cuda() && has_nccl());
  try {
    const MeetingPoint meeting = open_meeting_point(rendezvous);
    auto group =
        c10::make_intrusive<c10d::ProcessGroup>(meeting.store, rendezvous.rank, rendezvous.world_size);
    add_gloo(*group, meeting, rendezvous);  // small agreements go over CPU tensors on GPUs too
    if (nccl) add_nccl(*group, meeting, rendezvous);
    return std::make_unique<Group>(std::move(group), nccl ? "nccl" : "gloo");
  } catch (const TrainerError&) {
    throw;
  } catch (...) {
    throw TrainerError(ExitCode::rendezvous_failed, "meeting the other ranks at " + rendezvous.address + ":" +
                                                        std::to_string(rendezvous.port) + ": " +
                                                        failure_of(std::current_exception()).message);
  }
}

}  // namespace tenfold
