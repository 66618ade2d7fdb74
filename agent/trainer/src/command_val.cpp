#include <cstdio>
#include <nlohmann/json.hpp>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <unistd.h>

#include "commands.h"
#include "counted.h"
#include "detector_options.h"
#include "evaluate.h"
#include "exit_code.h"
#include "file_io.h"
#include "loader.h"
#include "shown_name.h"
#include "validate.h"
#include "validation_order.h"

namespace tenfold {
namespace {

constexpr const char* kValText = R"(Measures a detector on a split of a data set. The table on stdout has, over all classes and for each, precision and recall at
IoU 0.50 (at the confidence where the mean F1 is best), and average precision as pycocotools computes it: at IoU 0.50, and
the mean over IoU 0.50 to 0.95. ap=published takes it as the published YOLO trainers do, which is a little higher: to
compare with their figures. As in a training's validation, the network sees the least rectangle that holds a batch's
pictures with a small margin; --square shows it squares. A picture that cannot be read is named, and counts as one in
which nothing is found: its objects are missed.)";

struct Evaluation {
  Metrics metrics;
  int64_t corrupt = 0;
};

/// The data set's classes must be those that the detector knows.
void check_classes(const Dataset& data, const LoadedDetector& loaded) {
  if (data.names().size() != loaded.names.size())
    throw TrainerError(ExitCode::bad_data, "the data set has " +
                                               counted(static_cast<int64_t>(data.names().size()), "class", "classes") +
                                               ", the weights are for " + std::to_string(loaded.names.size()));
  if (data.names() != loaded.names)
    std::fprintf(stderr, "warning: the data set calls its classes otherwise than the weights; taken in their order\n");
}

void show_progress(int64_t done, int64_t total) {
  if (::isatty(STDERR_FILENO) != 1) return;
  if (done < total)
    std::fprintf(stderr, "\r\033[K%lld/%lld images", static_cast<long long>(done), static_cast<long long>(total));
  else
    std::fprintf(stderr, "\r\033[K");
}

/// What an evaluation is asked for.
struct EvaluationOptions {
  int64_t batch = 16;
  bool square = false;
  ApRule ap = ApRule::coco;
  DetectOptions detect;
};

ApRule ap_rule(const CommandArguments& arguments) {
  const std::string name = arguments.text("ap").value_or("coco");
  if (name == "coco") return ApRule::coco;
  if (name != "published") arguments.fail("ap", "must be coco or published, not " + name);
  return ApRule::published;
}

Evaluation evaluate(RunningDetector& detector, const Dataset& data, const EvaluationOptions& options) {
  const at::NoGradGuard no_grad;
  Detector& model = *detector.loaded.model;
  const auto batches = batches_of(by_shape(data), options.batch);
  Loader loader(data, {.imgsz = detector.imgsz, .threads = usual_threads(), .prefetch = 2, .cache_bytes = 0, .folder = nullptr});
  loader.start(1, batches, std::nullopt, options.square ? Rectangles{} : Rectangles{batches, model.max_stride()});
  Evaluator evaluator(model.nc());
  Evaluation evaluation;
  int64_t done = 0;
  while (const std::optional<Batch> pictures = loader.next()) {
    for (const Corrupt& corrupt : pictures->corrupt)
      std::fprintf(stderr, "%s: %s; its objects count as missed\n", corrupt.name.c_str(), corrupt.reason.c_str());
    evaluation.corrupt += static_cast<int64_t>(pictures->corrupt.size());
    const auto found =
        detect(model.forward_detecting(network_input(pictures->images, detector.device)), model.head_layout(),
               options.detect);
    add_images(evaluator, *pictures, found, data);
    done += static_cast<int64_t>(found.size());
    show_progress(done, data.size());
  }
  evaluation.metrics = evaluator.compute(options.ap);
  return evaluation;
}

void print_row(const std::string& name, int64_t labels, double precision, double recall, double ap50, double ap50_95) {
  std::printf("%-24s %8lld %9.4f %9.4f %9.4f %9.4f\n", name.c_str(), static_cast<long long>(labels), precision, recall,
              ap50, ap50_95);
}

void print_table(const Metrics& metrics, const std::vector<std::string>& names) {
  std::printf("%-24s %8s %9s %9s %9s %9s\n", "class", "labels", "P", "R", "mAP50", "mAP50-95");
  print_row("all", metrics.labels, metrics.precision, metrics.recall, metrics.map50, metrics.map50_95);
  for (const ClassMetrics& cls : metrics.classes)
    print_row(name_in_line(names, cls.cls), cls.labels, cls.precision, cls.recall, cls.ap50(), cls.ap50_95());
}

nlohmann::ordered_json json_of(const Evaluation& evaluation, const RunningDetector& detector, const std::string& split) {
  const Metrics& metrics = evaluation.metrics;
  nlohmann::ordered_json json = {{"arch", detector.loaded.arch},
                                 {"split", split},
                                 {"imgsz", detector.imgsz},
                                 {"images", metrics.images},
                                 {"corrupt_images", evaluation.corrupt},
                                 {"labels", metrics.labels},
                                 {"precision", metrics.precision},
                                 {"recall", metrics.recall},
                                 {"map50", metrics.map50},
                                 {"map50_95", metrics.map50_95},
                                 {"confidence", metrics.confidence},
                                 {"classes", nlohmann::ordered_json::array()}};
  for (const ClassMetrics& cls : metrics.classes)
    json["classes"].push_back({{"class", cls.cls},
                               {"name", detector.loaded.names[static_cast<size_t>(cls.cls)]},
                               {"labels", cls.labels},
                               {"precision", cls.precision},
                               {"recall", cls.recall},
                               {"f1", cls.f1},
                               {"ap50", cls.ap50()},
                               {"ap50_95", cls.ap50_95()},
                               {"ap", cls.ap}});
  return json;
}

int validate_weights(const CommandArguments& arguments) {
  const std::string split = arguments.text("split").value_or("val");
  const auto conf = arguments.number("conf", 0, 1);
  const auto iou = arguments.number("iou", 0, 1);
  const EvaluationOptions options{.batch = arguments.integer("batch", 1, 1024).value_or(16),
                                  .square = arguments.flag("square"),
                                  .ap = ap_rule(arguments),
                                  .detect = {.conf = static_cast<float>(conf.value_or(0.001)),
                                             .iou = static_cast<float>(iou.value_or(0.7)),
                                             .multi_label = true}};
  const Dataset data = Dataset::open_yaml(arguments.required("data"), split);
  if (!data.warnings().empty()) std::fprintf(stderr, "warning: %s\n", data.warning_summary().c_str());
  RunningDetector detector = open_detector(arguments);
  check_classes(data, detector.loaded);
  const Evaluation evaluation = evaluate(detector, data, options);
  print_table(evaluation.metrics, detector.loaded.names);
  if (const auto file = arguments.text("json")) replace_file(*file, json_of(evaluation, detector, split).dump(1) + "\n");
  return 0;
}

}  // namespace

Command val_command() {
  return {.name = "val",
          .operands = "WEIGHTS.safetensors",
          .summary = "measure a detector on a data set",
          .text = kValText,
          .options = {{"data", "FILE", "the data set's data.yaml, or the folder that holds it"},
                      {"split", "NAME", "train, val or test (val)"},
                      {"imgsz", "N", "side of the network's input in pixels (as it was trained)"},
                      {"batch", "N", "pictures at a time (16)"},
                      {"conf", "X", "least score of a detection (0.001)"},
                      {"iou", "X", "most overlap with a better box of the same class (0.7)"},
                      {"square", "", "show the network squares, as an exported one sees them, not a batch's least rectangle"},
                      {"ap", "RULE", "average precision as coco or as published YOLO trainers take it (coco)"},
                      {"device", "NAME", "auto, cpu, cuda, or a GPU as N or cuda:N (auto)"},
                      {"json", "FILE", "write the metrics there as well"},
                      {"arch", "MODEL", "the network, where the weights do not say it"}},
          .refused = {{"half", "not supported; the network runs in full precision"},
                      {"classes", "not supported; each class has its own row"},
                      {"plots", "only a training draws its curves and confusion matrix"},
                      {"save", "the table goes to stdout, and with --json FILE the metrics into a file"},
                      {"save-json", "--json FILE writes the metrics; predict --json writes what is found"},
                      {"save-txt", "predict has it"},
                      {"line-width", "predict draws pictures, val does not"},
                      {"verbose", "each class always has its row"},
                      {"rect", "rectangles are the usual way; --square is the other"},
                      {"max-det", "it is always 300"},
                      {"project", "no folder is made; --json FILE writes the metrics"},
                      {"name", "no folder is made; --json FILE writes the metrics"},
                      {"augment", "not supported; a picture is looked at once"},
                      {"task", "only detectors are measured here"},
                      {"mode", "the command says it: tenfold-trainer val"}},
          .examples = {"val runs/first/weights/best.safetensors data=data.yaml",
                       "val best.safetensors data=data.yaml split=test imgsz=1280 --json metrics.json"},
          .run = validate_weights};
}

}  // namespace tenfold
