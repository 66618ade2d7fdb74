#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tenfold {

/// Where and as whom this rank meets the others.
struct Rendezvous {
  std::string address = "127.0.0.1";  // rank 0 listens there
  int port = 0;
  int rank = 0;
  int world_size = 1;
  int local_world_size = 1;  // of them on this host
  int64_t generation = 0;  // a rank of another generation is never met, even on the same port
  std::chrono::milliseconds timeout{120'000};
  std::string backend = "auto";  // gloo, nccl, or auto: nccl where every rank has a GPU of its own
  at::Device device = at::kCPU;
};

/// A reduction under way; wait() gives its result. Every one must be waited for.
class PendingReduction {
 public:
  virtual ~PendingReduction() = default;
  virtual at::Tensor wait() = 0;
};

/// How gradients travel. bf16: in half the bytes, each rank's rounded to 8 significant bits; the sum is rounded too.
enum class GradientCompression { none, bf16 };

/// Averages gradients over the ranks while the backward pass still computes others.
class GradientExchange {
 public:
  virtual ~GradientExchange() = default;
  virtual void before_forward() = 0;
  /// Backward pass of a part of the batch that is not the last: gradients add up on this rank alone.
  virtual void accumulate(const at::Tensor& loss) = 0;
  /// Backward pass; when it returns, every parameter holds the mean of its gradients over the ranks.
  virtual void backward(const at::Tensor& loss) = 0;
};

/// The ranks of one generation. A rank that drops it can join another generation. Every method that talks to other ranks
/// must be called by all of them in the same order, and throws TrainerError(peer_lost | collective_timeout).
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  virtual std::string backend() const = 0;  // "gloo", "nccl", or "none" for one rank alone

  // `what` names the collective where it fails or stalls.

  /// Sum over the ranks, in place; returns the tensor.
  virtual at::Tensor sum(at::Tensor tensor, const char* what = "sum") = 0;
  /// Elementwise maximum over the ranks of a CPU tensor, begun at once.
  virtual std::unique_ptr<PendingReduction> begin_max(at::Tensor tensor, const char* what = "maximum") = 0;
  /// Overwrites the tensors with those of rank 0.
  virtual void broadcast(const std::vector<at::Tensor>& tensors, const char* what = "state of rank 0") = 0;
  /// (W, ...) the ranks' tensors of one shape, by rank.
  virtual at::Tensor stack(const at::Tensor& tensor, const char* what = "stack") = 0;
  /// The (k_r, n) tensors of all ranks, by rank; k may differ between them.
  virtual std::vector<at::Tensor> gather_rows(const at::Tensor& rows, const char* what = "rows") = 0;
  virtual std::unique_ptr<GradientExchange> exchange_gradients(
      std::vector<at::Tensor> parameters, const std::vector<std::string>& names,
      GradientCompression compression = GradientCompression::none) = 0;
};

/// One rank alone: every exchange is the identity.
std::unique_ptr<Communicator> alone();

/// Told once, from a thread of the communicator's, that a collective did not finish within the limit: which one, and
/// which ranks are missing from it. The caller's thread may hang in it for ever, so this had better end the process.
using OnStall = std::function<void(const std::string& verdict)>;

/// Meets the other ranks; returns when all are connected. Throws TrainerError(rendezvous_failed) after the timeout.
std::unique_ptr<Communicator> join(const Rendezvous& rendezvous, OnStall on_stall = [](const std::string&) {});

}  // namespace tenfold
