#include <cstdio>

#include "commands.h"
#include "device.h"
#include "inspect.h"
#include "model_spec.h"

namespace tenfold {
namespace {

int inspect(const CommandArguments& arguments) {
  const int nc = arguments.integer("nc", 1, 100'000).value_or(80);
  const int imgsz = arguments.integer("imgsz", 1, 100'000).value_or(640);
  const ModelSpec spec = load_model_spec(arguments.operands().front());
  if (arguments.flag("yaml")) {
    std::fputs(spec.yaml.c_str(), stdout);
    return 0;
  }
  set_up_cpu(1);
  const ModelReport report = inspect_model(spec, nc, imgsz);
  std::fputs(render_report(report).c_str(), stdout);
  return 0;
}

}  // namespace

Command inspect_command() {
  return {.name = "inspect",
          .operands = "MODEL",
          .summary = "layers, shapes, parameters and GFLOPs of a model",
          .text = "Prints what a network is made of. MODEL is a built-in name (yolov8n, ...) or a model yaml.\n"
                  "--yaml prints the yaml that it is read from instead: that of yolov8n says how such a file is written.",
          .options = {{"nc", "N", "number of classes (80)"},
                      {"imgsz", "N", "side of the picture in pixels (640)"},
                      {"yaml", "", "print the model yaml, to start one of your own from"}},
          .examples = {"inspect yolov8n", "inspect mine.yaml nc=3 imgsz=320", "inspect yolov8n --yaml > mine.yaml"},
          .run = inspect};
}

}  // namespace tenfold
