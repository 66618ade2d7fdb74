#include <cstdio>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "counted.h"
#include "detector_options.h"
#include "device.h"
#include "exit_code.h"
#include "file_io.h"
#include "onnx_export.h"
#include "weights_file.h"

namespace tenfold {
namespace {

constexpr const char* kExportText = R"(Writes the detector in a format that other software runs. ONNX:
  input   images       (batch, 3, H, W) float, RGB in 0..1
  output  predictions  v5 and v8: (batch, 4 + classes, anchors): cx, cy, w, h in pixels of the input, then class scores; to be
                       followed by non-maximum suppression
  or      detections   v10, which finds each object once: (batch, max-det, 6): x1, y1, x2, y2 in pixels of the input, score,
                       class; best first, to be cut off at a score of your choice
Batch norms are folded into the convolutions, and operators are kept to those that TensorRT and others have. The names of
the classes, stride, imgsz, task and family are in the model's metadata.)";

std::optional<int> batch_of(const CommandArguments& arguments) {
  if (arguments.text("batch").value_or("dynamic") == "dynamic") return std::nullopt;
  return arguments.integer("batch", 1, 4096);
}

std::map<std::string, std::string> onnx_metadata(const LoadedDetector& loaded, const PictureSize& size) {
  return {{"task", "detect"},
          {"arch", loaded.arch},
          {"family", std::string(to_string(loaded.model->family()))},
          {"names", nlohmann::json(loaded.names).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)},
          {"nc", std::to_string(loaded.model->nc())},
          {"stride", std::to_string(loaded.model->max_stride())},
          {"imgsz", nlohmann::json({size.height, size.width}).dump()},
          {"producer", std::string("tenfold-trainer ") + TENFOLD_VERSION}};
}

int export_weights(const CommandArguments& arguments) {
  const std::filesystem::path weights = arguments.operands().front();
  const std::string format = arguments.text("format").value_or("onnx");
  if (format != "onnx") arguments.fail("format", "is onnx; `" + format + "` is not written");
  OnnxOptions options;
  options.batch = batch_of(arguments);
  options.opset = arguments.integer("opset", kOldestOpset, kNewestOpset).value_or(kNewestOpset);
  options.max_det = arguments.integer("max-det", 1, 10'000).value_or(options.max_det);
  const auto asked_size = picture_size(arguments, "imgsz");
  const auto usual = std::filesystem::path(weights).replace_extension(".onnx");
  if (is_same_file(arguments.text("out").value_or(usual.string()), weights))
    arguments.fail("out", "would overwrite the weights " + weights.string() + "; name another file");
  const auto out = output_file(arguments, usual);

  set_up_cpu(usual_threads());
  const LoadedDetector loaded = load_detector(weights, arguments.text("arch"));
  const PictureSize size = asked_size.value_or(PictureSize{loaded.imgsz, loaded.imgsz});
  options.width = size.width;
  options.height = size.height;
  const OnnxModel model = export_onnx(*loaded.model, options, onnx_metadata(loaded, size));
  make_folder_of(out);
  replace_file(out, serialize(model));
  std::printf("%s\n", out.c_str());
  std::fprintf(stderr, "%s, %s, opset %d, %s of %dx%d (HxW), %zu operators\n", loaded.arch.c_str(),
               counted(loaded.model->nc(), "class", "classes").c_str(), options.opset,
               options.batch ? counted(*options.batch, "image").c_str() : "any number of images", size.height,
               size.width, model.nodes.size());
  return 0;
}

}  // namespace

Command export_command() {
  return {.name = "export",
          .operands = "WEIGHTS.safetensors",
          .summary = "write a detector as ONNX",
          .text = kExportText,
          .options = {{"format", "onnx", "what to write (onnx)"},
                      {"out", "FILE", "where to (WEIGHTS.onnx)"},
                      {"force", "", "overwrite that file where it is there already"},
                      {"imgsz", "N|HxW", "size of the pictures in pixels (as it was trained)"},
                      {"batch", "N", "images at a time; dynamic: any number (dynamic)"},
                      {"max-det", "N", "detections of an image, for v10 (300)"},
                      {"opset", "N", "version of ONNX's operators, 13 to 17 (17)"},
                      {"arch", "MODEL", "the network, where the weights do not say it"}},
          .refused = {{"half", "not supported; the file is in full precision"},
                      {"int8", "not supported; the file is in full precision"},
                      {"dynamic", "any number of images is the usual, batch=dynamic; their size is that of imgsz"},
                      {"simplify", "batch norms are always folded, and operators kept to the usual ones"},
                      {"nms", "not supported; v10 needs none, and that of v5 and v8 is left to what runs the file"},
                      {"classes", "not supported; the file has all classes of the weights"},
                      {"device", "an export takes the CPU alone"},
                      {"verbose", "what was written is always told"},
                      {"task", "only detectors are exported here"},
                      {"mode", "the command says it: tenfold-trainer export"}},
          .examples = {"export runs/first/weights/best.safetensors",
                       "export best.safetensors --imgsz 384x640 --batch 1 --out camera.onnx"},
          .run = export_weights};
}

}  // namespace tenfold
