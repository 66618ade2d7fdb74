#include "collective.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/comm.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>

#include "collective_backend.h"
#include "collective_errors.h"
#include "exit_code.h"
#include "failure.h"
#include "gradient_exchange.h"
#include "stall_watch.h"

namespace tenfold {
namespace {

constexpr size_t kBroadcastBytes = size_t{25} << 20;

class Alone final : public Communicator {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  std::string backend() const override { return "none"; }
  at::Tensor sum(at::Tensor tensor, const char*) override { return tensor; }
  std::unique_ptr<PendingReduction> begin_max(at::Tensor tensor, const char*) override {
    struct Done final : PendingReduction {
      explicit Done(at::Tensor result) : result_(std::move(result)) {}
      at::Tensor wait() override { return result_; }
      at::Tensor result_;
    };
    return std::make_unique<Done>(std::move(tensor));
  }
  void broadcast(const std::vector<at::Tensor>&, const char*) override {}
  at::Tensor stack(const at::Tensor& tensor, const char*) override { return tensor.unsqueeze(0); }
  std::vector<at::Tensor> gather_rows(const at::Tensor& rows, const char*) override { return {rows}; }
  std::unique_ptr<GradientExchange> exchange_gradients(std::vector<at::Tensor>, const std::vector<std::string>&,
                                                       GradientCompression) override {
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
  WorkReduction(c10::intrusive_ptr<c10d::Work> work, at::Tensor tensor, StallWatch& watch)
      : work_(std::move(work)), tensor_(std::move(tensor)), watch_(watch) {}
  at::Tensor wait() override {
    talking(watch_, [&] { work_->wait(); });
    return tensor_;
  }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
  at::Tensor tensor_;
  StallWatch& watch_;
};

/// An error of Gloo's is thrown where its collective is waited for. Over NCCL nobody may come that far.
std::optional<std::chrono::milliseconds> hearing_over(const std::string& backend) {
  if (backend != "nccl") return std::nullopt;
  return std::chrono::seconds(10);
}

class Group final : public Communicator {
 public:
  Group(c10::intrusive_ptr<c10d::ProcessGroup> group, std::string backend, const Rendezvous& rendezvous, OnStall on_stall)
      : group_(std::move(group)),
        backend_(std::move(backend)),
        one_host_(rendezvous.local_world_size == rendezvous.world_size),
        watch_(rendezvous, std::move(on_stall), hearing_over(backend_)) {}

  int rank() const override { return group_->getRank(); }
  int world_size() const override { return group_->getSize(); }
  std::string backend() const override { return backend_; }

  at::Tensor sum(at::Tensor tensor, const char* what) override {
    wait_for(what, [&] { return reduce(tensor, c10d::ReduceOp::SUM); });
    return tensor;
  }

  std::unique_ptr<PendingReduction> begin_max(at::Tensor tensor, const char* what) override {
    return talking(watch_, [&]() -> std::unique_ptr<PendingReduction> {
      auto work = watch_.follow(what, [&] { return reduce(tensor, c10d::ReduceOp::MAX); });
      return std::make_unique<WorkReduction>(std::move(work), tensor, watch_);
    });
  }

  void broadcast(const std::vector<at::Tensor>& tensors, const char* what) override {
    const at::NoGradGuard no_grad;
    // Only tensors of one type can share a message.
    std::map<at::ScalarType, std::vector<at::Tensor>> by_type;
    for (const at::Tensor& tensor : tensors) by_type[tensor.scalar_type()].push_back(tensor.detach());
    talking(watch_, [&] {
      watch_.run(what, [&] {
        for (const auto& [type, group] : by_type) c10d::broadcast_coalesced(group_, group, kBroadcastBytes, 0);
      });
    });
  }

  at::Tensor stack(const at::Tensor& tensor, const char* what) override {
    const std::vector<at::Tensor> received = gather(tensor.contiguous(), what);
    return at::stack(received);
  }

  std::vector<at::Tensor> gather_rows(const at::Tensor& rows, const char* what) override {
    const at::Tensor counts = stack(at::tensor({rows.size(0)}, at::kLong), what);
    const int64_t most = std::max<int64_t>(counts.max().item<int64_t>(), 1);
    at::Tensor padded = at::zeros({most, rows.size(1)}, rows.options());
    padded.narrow(0, 0, rows.size(0)).copy_(rows);
    std::vector<at::Tensor> received = gather(padded, what);
    for (int r = 0; r < world_size(); ++r) {
      received[static_cast<size_t>(r)] = received[static_cast<size_t>(r)].narrow(0, 0, counts[r][0].item<int64_t>());
    }
    return received;
  }

  std::unique_ptr<GradientExchange> exchange_gradients(std::vector<at::Tensor> parameters,
                                                       const std::vector<std::string>& names,
                                                       GradientCompression compression) override {
    return talking(watch_, [&] {
      return bucketed_exchange(group_, watch_, std::move(parameters), names, {compression, one_host_});
    });
  }

 private:
  template <typename Start>
  void wait_for(const char* what, Start&& start) {
    talking(watch_, [&] { watch_.follow(what, start)->wait(); });
  }

  c10::intrusive_ptr<c10d::Work> reduce(const at::Tensor& tensor, c10d::ReduceOp::RedOpType op) {
    c10d::AllreduceOptions options;
    options.reduceOp = op;
    std::vector<at::Tensor> tensors{tensor};
    return group_->allreduce(tensors, options);
  }

  /// The ranks' tensors of one shape, by rank.
  std::vector<at::Tensor> gather(const at::Tensor& tensor, const char* what) {
    std::vector<std::vector<at::Tensor>> received(1);
    for (int r = 0; r < world_size(); ++r) received[0].push_back(at::empty_like(tensor));
    std::vector<at::Tensor> sent{tensor};
    wait_for(what, [&] { return group_->allgather(received, sent); });
    return std::move(received[0]);
  }

  c10::intrusive_ptr<c10d::ProcessGroup> group_;
  std::string backend_;
  bool one_host_;
  StallWatch watch_;
};

const std::vector<c10::DeviceType> kCpu = {c10::DeviceType::CPU};
const std::vector<c10::DeviceType> kCpuAndGpu = {c10::DeviceType::CPU, c10::DeviceType::CUDA};

/// Whether every rank computes on a GPU of its own: NCCL refuses two that share one. The same on all ranks, whatever they
/// are, for all of them ask.
bool has_a_gpu_each(const MeetingPoint& meeting, const Rendezvous& rendezvous) {
  const auto key_of = [](int rank) { return "gpu/" + std::to_string(rank); };
  meeting.store->set(key_of(rendezvous.rank), own_gpu(rendezvous.device));
  std::set<std::string> gpus;
  for (int rank = 0; rank < rendezvous.world_size; ++rank) gpus.insert(meeting.store->get_to_str(key_of(rank)));
  return gpus.size() == static_cast<size_t>(rendezvous.world_size) && !gpus.contains("none");
}

bool takes_nccl(const MeetingPoint& meeting, const Rendezvous& rendezvous) {
  if (rendezvous.backend != "auto") return rendezvous.backend == "nccl";
  return has_a_gpu_each(meeting, rendezvous);
}

}  // namespace

std::unique_ptr<Communicator> alone() { return std::make_unique<Alone>(); }

std::unique_ptr<Communicator> join(const Rendezvous& rendezvous, OnStall on_stall) {
  try {
    const MeetingPoint meeting = open_meeting_point(rendezvous);
    const bool nccl = takes_nccl(meeting, rendezvous);
    auto group =
        c10::make_intrusive<c10d::ProcessGroup>(meeting.store, rendezvous.rank, rendezvous.world_size);
    // Small agreements go over CPU tensors on GPUs too.
    add_gloo(*group, meeting, rendezvous, nccl ? kCpu : kCpuAndGpu);
    if (nccl) add_nccl(*group, meeting, rendezvous);
    return std::make_unique<Group>(std::move(group), nccl ? "nccl" : "gloo", rendezvous, std::move(on_stall));
  } catch (const TrainerError&) {
    throw;
  } catch (...) {
    throw TrainerError(ExitCode::rendezvous_failed, "meeting the other ranks at " + rendezvous.address + ":" +
                                                        std::to_string(rendezvous.port) + ": " +
                                                        failure_of(std::current_exception()).message);
  }
}

}  // namespace tenfold
