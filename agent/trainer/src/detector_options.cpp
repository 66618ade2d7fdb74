#include "detector_options.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <thread>

#include "model.h"

namespace tenfold {
namespace {

constexpr int kLargestSide = 16384;  // pixels

std::optional<int> whole(std::string_view text) {
  int value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

/// As in a training's config: N alone is cuda:N.
std::string device_name(const CommandArguments& arguments) {
  const std::string name = arguments.text("device").value_or("auto");
  if (name == "auto" || name == "cpu" || name == "cuda") return name;
  const std::string number = name.starts_with("cuda:") ? name.substr(5) : name;
  if (number.size() > 3 || whole(number).value_or(-1) < 0)
    arguments.fail("device", "is auto, cpu, cuda, or the number of one GPU as N or cuda:N, not " + name);
  return "cuda:" + number;
}

}  // namespace

std::optional<PictureSize> picture_size(const CommandArguments& arguments, const std::string& option) {
  const auto text = arguments.text(option);
  if (!text) return std::nullopt;
  const size_t by = text->find('x');
  const auto height = whole(std::string_view(*text).substr(0, by));
  const auto width = by == std::string::npos ? height : whole(std::string_view(*text).substr(by + 1));
  for (const auto& side : {height, width})
    if (!side || *side < 1 || *side > kLargestSide)
      arguments.fail(option, "must be a side in pixels (640) or height x width (384x640), not " + *text);
  return PictureSize{*width, *height};
}

std::filesystem::path output_file(const CommandArguments& arguments, const std::filesystem::path& usual) {
  const std::filesystem::path out = arguments.text("out").value_or(usual.string());
  if (std::filesystem::exists(out) && !arguments.flag("force"))
    arguments.fail("out", out.string() + " is there already; name another file, or overwrite it with --force");
  return out;
}

int usual_threads() {
  const char* given = std::getenv("OMP_NUM_THREADS");
  const auto threads = given == nullptr ? std::nullopt : whole(given);
  return std::max(1, threads.value_or(static_cast<int>(std::thread::hardware_concurrency())));
}

RunningDetector open_detector(const CommandArguments& arguments) {
  const auto asked = arguments.integer("imgsz", 1, kLargestSide);
  set_up_cpu(usual_threads());
  RunningDetector running;
  running.device = choose_device(device_name(arguments), "off", 0);
  running.loaded = load_detector(arguments.operands().front(), arguments.text("arch"));
  running.imgsz = asked.value_or(running.loaded.imgsz);
  Detector& model = *running.loaded.model;
  if (running.imgsz % model.max_stride() != 0)
    arguments.fail("imgsz", "must be a multiple of the network's stride " + std::to_string(model.max_stride()) + ", not " +
                                std::to_string(running.imgsz));
  place(model, running.device);
  return running;
}

}  // namespace tenfold
