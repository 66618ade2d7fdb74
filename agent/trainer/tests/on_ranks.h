#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "collective.h"
#include "free_port.h"
#include "loader.h"
#include "loss.h"
#include "model.h"
#include "sample_order.h"

namespace tenfold::testing {

/// Runs `work` on `world_size` threads, each of which is given what it needs to meet the others as a rank.
inline void on_threads(int world_size, const std::function<void(Rendezvous)>& work) {
  const int port = free_port();
  std::vector<std::thread> threads;
  for (int rank = world_size - 1; rank >= 0; --rank) {  // the host last: the others must wait for it
    threads.emplace_back([=, &work] {
      work({.port = port,
            .rank = rank,
            .world_size = world_size,
            .local_world_size = world_size,
            .generation = 1,
            .timeout = std::chrono::seconds(60)});
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// Runs `work` on `world_size` ranks, each a thread of its own, on one device.
inline void on_ranks(int world_size, const std::function<void(Communicator&)>& work, int64_t generation = 1,
                     const at::Device& device = at::kCPU) {
  on_threads(world_size, [&](Rendezvous rendezvous) {
    rendezvous.generation = generation;
    rendezvous.device = device;
    work(*join(rendezvous));
  });
}

/// A replica of a model, as another rank would have it.
inline std::shared_ptr<Detector> copy_of(const Detector& model) {
  const at::NoGradGuard no_grad;
  auto copy = build_detector(model.spec(), model.nc());
  const auto from = named_state(model);
  const auto to = named_state(*copy);
  for (size_t i = 0; i < from.size(); ++i) to[i].second.copy_(from[i].second);
  return copy;
}

/// The slice of a whole batch that a rank takes in training.
inline Batch slice_for(const Batch& whole, const Communicator& ranks) {
  const int64_t images = whole.images.size(0);
  const auto positions = rank_positions(images, images, 0, ranks.world_size(), ranks.rank());
  Batch slice;
  slice.images = whole.images.index_select(0, at::tensor(positions));
  std::vector<at::Tensor> targets;
  for (size_t i = 0; i < positions.size(); ++i) {
    at::Tensor rows = whole.targets.index({whole.targets.select(1, 0) == positions[i]}).clone();
    rows.select(1, 0).fill_(static_cast<double>(i));
    targets.push_back(rows);
  }
  slice.targets = at::cat(targets);
  return slice;
}

/// The gradients of a whole batch, of which each rank computes its slice where its model lies; the same on all.
inline std::vector<at::Tensor> gradients_of_slices(Communicator& ranks, Detector& model, const Batch& whole) {
  std::vector<at::Tensor> trainable;
  for (const at::Tensor& parameter : model.parameters()) {
    if (parameter.requires_grad()) trainable.push_back(parameter);
  }
  const Batch own = slice_for(whole, ranks);
  const auto loss = make_detection_loss(model.head_layout());
  loss->set_sum_over_ranks([&](at::Tensor tensor) { return ranks.sum(std::move(tensor)); });
  const auto exchange = ranks.exchange_gradients(trainable, {});
  exchange->before_forward();
  const auto height = static_cast<int>(own.images.size(2)), width = static_cast<int>(own.images.size(3));
  const at::Device device = trainable.front().device();
  exchange->backward((*loss)(model.forward(own.images.to(device)), own.targets.to(device), height, width).total);
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : trainable) gradients.push_back(parameter.grad().clone());
  return gradients;
}

}  // namespace tenfold::testing
