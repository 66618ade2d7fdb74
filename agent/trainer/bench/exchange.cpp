// How much of the ranks' exchange of gradients is hidden behind the backward pass. Every rank is a process that is started
// with the environment of torchrun; rank 0 prints one JSON line, which test/bench/exchange.ts reads.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bench.h"
#include "collective.h"
#include "device.h"
#include "model.h"
#include "rank_environment.h"

namespace {

using namespace tenfold;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string model;
  int64_t imgsz = 160;
  int64_t images = 4;  // of a rank
  int rounds = 15;
};

constexpr const char* kUsage = "usage: tenfold-trainer-exchange MODEL IMGSZ IMAGES ROUNDS   (RANK, WORLD_SIZE, … as torchrun sets them)\n";
constexpr int kClasses = 80;

Options parse(const std::vector<std::string>& args) {
  if (args.size() != 4) throw std::invalid_argument(kUsage);
  return {args[0], std::stoll(args[1]), std::stoll(args[2]), std::stoi(args[3])};
}

/// A replica, and what it computes with.
struct Replica {
  std::shared_ptr<Detector> model;
  std::vector<at::Tensor> trainable;
  at::Tensor images;
  ComputeDevice device;
};

Replica make_replica(const Options& options, const RankEnvironment& env) {
  Replica replica;
  replica.device = choose_device("auto", "off", env.local_rank);
  at::manual_seed(0);
  replica.model = build_detector(load_model_spec(options.model), kClasses);
  place(*replica.model, replica.device);
  for (const at::Tensor& parameter : replica.model->parameters()) {
    if (parameter.requires_grad()) replica.trainable.push_back(parameter);
  }
  replica.model->train();
  replica.images = at::randint(256, {options.images, 3, options.imgsz, options.imgsz}, at::kByte);
  return replica;
}

at::Tensor forward(Replica& r) {
  at::Tensor sum = at::zeros({}, at::TensorOptions().device(r.device.device));
  for (const at::Tensor& map : r.model->forward(network_input(r.images, r.device))) sum = sum + map.mean();
  return sum;
}

/// All gradients in one message, after the backward pass.
void average_at_once(Replica& r, Communicator& ranks) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> flat;
  for (const at::Tensor& parameter : r.trainable) flat.push_back(parameter.grad().reshape({-1}));
  const at::Tensor mean = ranks.sum(at::cat(flat)).div_(ranks.world_size());
  int64_t at = 0;
  for (const at::Tensor& parameter : r.trainable) {
    parameter.mutable_grad().copy_(mean.narrow(0, at, parameter.numel()).view_as(parameter));
    at += parameter.numel();
  }
}

/// Milliseconds of a step of all ranks, which begin it together; the ways take turns, so that each sees the same weather.
std::map<std::string, double> time_in_turns(const Options& options, Replica& r, Communicator& ranks,
                                            const std::map<std::string, std::function<void()>>& ways) {
  std::map<std::string, std::vector<double>> times;
  const auto barrier = [&] { ranks.sum(at::zeros({1})); };
  for (int round = -2; round < options.rounds; ++round) {
    for (const auto& [name, step] : ways) {
      for (const at::Tensor& parameter : r.trainable) parameter.mutable_grad().reset();
      bench::finish_on(r.device.device);
      barrier();
      const auto start = Clock::now();
      step();
      bench::finish_on(r.device.device);
      barrier();
      if (round >= 0) times[name].push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
  }
  std::map<std::string, double> medians;
  for (auto& [name, values] : times) medians[name] = bench::median(values);
  return medians;
}

int run(const Options& options) {
  const RankEnvironment env = read_rank_environment();
  set_up_cpu(env.threads.value_or(1));
  Replica replica = make_replica(options, env);
  const auto ranks = join({.address = env.master_addr,
                           .port = env.master_port,
                           .rank = env.rank,
                           .world_size = env.world_size,
                           .local_world_size = env.local_world_size,
                           .device = replica.device.device});
  // An exchange hangs its hooks on the parameters for as long as it lives: one replica for each.
  Replica compressing = make_replica(options, env);
  Replica single = make_replica(options, env);
  const auto plain = ranks->exchange_gradients(replica.trainable, {});
  const auto bf16 = ranks->exchange_gradients(compressing.trainable, {}, GradientCompression::bf16);
  const auto exchanged = [](Replica& r, GradientExchange& exchange) {
    for (const at::Tensor& parameter : r.trainable) parameter.mutable_grad().reset();
    exchange.before_forward();
    exchange.backward(forward(r));
  };
  const auto times = time_in_turns(options, single, *ranks,
                                   {{"compute", [&] { forward(single).backward(); }},
                                    {"at_once", [&] { forward(single).backward(), average_at_once(single, *ranks); }},
                                    {"overlapped", [&] { exchanged(replica, *plain); }},
                                    {"overlapped_bf16", [&] { exchanged(compressing, *bf16); }}});
  int64_t parameters = 0;
  for (const at::Tensor& parameter : replica.trainable) parameters += parameter.numel();
  const nlohmann::json result = {{"backend", ranks->backend()}, {"device", replica.device.name},
                                 {"gradient_bytes", parameters * 4}, {"ms", times}};
  if (env.rank == 0) std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return tenfold::bench::main_of({argv + 1, argv + argc}, [](const auto& words) { return run(parse(words)); });
}
