// The yardstick of the training loop: how fast the network alone runs forward and backward over pictures that lie in
// memory. No loader, no loss, no optimizer. Prints one JSON line; test/bench/train reads it.
#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench.h"
#include "device.h"
#include "model.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string model;
  int nc = 80;
  int64_t imgsz = 640;
  int64_t batch = 16;
  int threads = 1;
  double seconds = 10;
  std::string amp = "off";
  bool channels_last = true;
};

constexpr const char* kUsage =
    "usage: tenfold-trainer-forward-backward MODEL NC IMGSZ BATCH THREADS SECONDS AMP(auto|off|bf16|fp16) LAYOUT(last|first)\n";

Options parse(const std::vector<std::string>& args) {
  if (args.size() != 8) throw std::invalid_argument(kUsage);
  return {.model = args[0],
          .nc = std::stoi(args[1]),
          .imgsz = std::stoll(args[2]),
          .batch = std::stoll(args[3]),
          .threads = std::stoi(args[4]),
          .seconds = std::stod(args[5]),
          .amp = args[6],
          .channels_last = args[7] == "last"};
}

/// Seconds of one forward and backward pass.
double timed_pass(tenfold::Detector& model, const at::Tensor& images, const tenfold::ComputeDevice& device) {
  const auto start = Clock::now();
  std::vector<at::Tensor> raw;
  {
    const tenfold::AutocastScope autocast(device);
    raw = model.forward(tenfold::network_input(images, device));
  }
  at::Tensor sum = at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(device.device));
  for (const at::Tensor& map : raw) sum = sum + map.to(at::kFloat).mean();
  sum.backward();
  for (const at::Tensor& parameter : model.parameters()) parameter.mutable_grad().reset();
  tenfold::bench::finish_on(device.device);
  return std::chrono::duration<double>(Clock::now() - start).count();
}

const char* precision_of(const tenfold::ComputeDevice& device) {
  if (device.autocast == at::kFloat) return "fp32";
  return device.autocast == at::kHalf ? "fp16" : "bf16";
}

int run(const Options& options) {
  tenfold::set_up_cpu(options.threads);
  tenfold::ComputeDevice device = tenfold::choose_device("auto", options.amp, 0);
  if (!options.channels_last) device.memory_format = at::MemoryFormat::Contiguous;
  at::manual_seed(0);
  const auto model = tenfold::build_detector(tenfold::load_model_spec(options.model), options.nc);
  tenfold::place(*model, device);
  model->train();
  const at::Tensor images =
      at::randint(256, {options.batch, 3, options.imgsz, options.imgsz}, at::kByte).to(device.device);
  const double first = timed_pass(*model, images, device);
  timed_pass(*model, images, device);  // memory and kernels are there after that
  std::vector<double> seconds;
  const auto end = Clock::now() + std::chrono::duration<double>(options.seconds);
  while (seconds.size() < 3 || Clock::now() < end) seconds.push_back(timed_pass(*model, images, device));
  const nlohmann::json result = {{"images_per_s", static_cast<double>(options.batch) / tenfold::bench::median(seconds)},
                                 {"first_pass_s", first},
                                 {"passes", seconds.size()},
                                 {"precision", precision_of(device)}};
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return tenfold::bench::main_of({argv + 1, argv + argc}, [](const auto& words) { return run(parse(words)); });
}
