#include <nlohmann/json.hpp>

#include <cstdio>
#include <thread>

#include "commands.h"
#include "gpu.h"

namespace tenfold {
namespace {

void print_json(const Gpus& gpus) {
  nlohmann::ordered_json json = {{"gpus", nlohmann::ordered_json::array()}, {"why_none", gpus.why_none}};
  for (const Gpu& gpu : gpus.found) {
    json["gpus"].push_back({{"name", gpu.name}, {"model", gpu.model}, {"memory_bytes", gpu.memory_bytes}});
  }
  std::printf("%s\n", json.dump().c_str());
}

void print_table(const Gpus& gpus) {
  for (const Gpu& gpu : gpus.found) {
    std::printf("%-8s %s, %.1f GiB\n", gpu.name.c_str(), gpu.model.c_str(), static_cast<double>(gpu.memory_bytes) / (1 << 30));
  }
  std::printf("%-8s %u threads\n", "cpu", std::thread::hardware_concurrency());
  if (gpus.found.empty()) std::printf("\nno GPU: %s\n", gpus.why_none.c_str());
}

int devices(const CommandArguments& arguments) {
  const Gpus gpus = find_gpus();
  arguments.flag("json") ? print_json(gpus) : print_table(gpus);
  return 0;
}

}  // namespace

Command devices_command() {
  return {.name = "devices",
          .operands = "",
          .summary = "what it can compute on, and why on no GPU",
          .text = "Prints the GPUs that this trainer can use, as they are called in `device`, and the CPU. Where there is no GPU it "
                  "says why:\nno driver, a driver that fails, or a build without CUDA.",
          .options = {{"json", "", "as JSON"}},
          .examples = {"devices", "devices --json"},
          .min_operands = 0,
          .max_operands = 0,
          .run = devices};
}

}  // namespace tenfold
