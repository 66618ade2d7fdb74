#include "train_arguments.h"

#include <initializer_list>
#include <sstream>

namespace tenfold {
namespace {

class YamlWriter {
 public:
  void integer(const char* name, int64_t value, int64_t, int64_t) { out_ << name << ": " << value << '\n'; }
  void number(const char* name, double value, double, double) { out_ << name << ": " << value << '\n'; }
  void flag(const char* name, bool value) { out_ << name << ": " << (value ? "true" : "false") << '\n'; }
  void choice(const char* name, const std::string& value, std::initializer_list<const char*>, const char*,
              const char*) {
    // A bare `off` would be read back as false.
    out_ << name << ": " << (value == "off" ? "\"off\"" : value) << '\n';
  }
  void integer_or_auto(const char* name, const std::optional<int64_t>& value, int64_t, int64_t) {
    out_ << name << ": " << (value ? std::to_string(*value) : "auto") << '\n';
  }
  std::string text() const { return out_.str(); }

 private:
  std::ostringstream out_;
};

}  // namespace

const std::vector<std::pair<std::string_view, std::string_view>>& refused_arguments() {
  static const std::vector<std::pair<std::string_view, std::string_view>> refused = {
      {"data", "set `data` at the top of the config"},
      {"model", "set `model.arch` at the top of the config"},
      {"pretrained", "set `model.weights` at the top of the config"},
      {"project", "set `run.dir`"},
      {"name", "set `run.name`"},
      {"exist_ok", "`run.dir` is used as it is"},
      {"resume", "set `resume.dir` to a checkpoint folder"},
      {"save", "checkpoints and weights are always saved"},
      {"save_period", "set `checkpoint.every.epochs`"},
      {"time", "not supported; set `epochs`"},
      {"rect", "not supported; training pictures are square"},
      {"multi_scale", "not supported; `scale` varies the size of objects"},
      {"single_cls", "not supported; give the data set a single class"},
      {"classes", "not supported; leave other classes out of the data set"},
      {"fraction", "not supported; list fewer images in the data set"},
      {"label_smoothing", "not supported by this loss"},
      {"freeze", "not supported"},
      {"dropout", "not supported; detectors have no dropout"},
      {"copy_paste", "not supported; it needs segmentation masks"},
      {"cutmix", "not supported"},
      {"bgr", "not supported"},
      {"auto_augment", "not supported; it is for classification"},
      {"erasing", "not supported; it is for classification"},
      {"deterministic", "training is always deterministic on the CPU"},
      {"plots", "pictures are always written"},
      {"verbose", "progress is always reported"},
      {"profile", "not supported"},
      {"compile", "not supported"},
  };
  return refused;
}

std::string arguments_yaml(const TrainArguments& arguments) {
  YamlWriter writer;
  visit_arguments(writer, arguments);
  return writer.text();
}

}  // namespace tenfold
