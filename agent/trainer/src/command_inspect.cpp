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
  set_up_cpu(1);
  const ModelReport report = inspect_model(load_model_spec(arguments.operands().front()), nc, imgsz);
  std::fputs(render_report(report).c_str(), stdout);
  return 0;
}

}  // namespace

Command inspect_command() {
  return {.name = "inspect",
          .operands = "MODEL",
          .summary = "layers, shapes, parameters and GFLOPs of a model",
          .text = "Prints what a network is made of. MODEL is a built-in name (yolov8n, ...) or a model yaml.",
          .options = {{"nc", "N", "number of classes (80)"}, {"imgsz", "N", "side of the picture in pixels (640)"}},
          .examples = {"inspect yolov8n", "inspect mine.yaml nc=3 imgsz=320"},
          .run = inspect};
}

}  // namespace tenfold
