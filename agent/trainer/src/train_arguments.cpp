#include "train_arguments.h"

#include <array>
#include <charconv>
#include <initializer_list>
#include <sstream>

namespace tenfold {
namespace {

/// The shortest text that is read back as the same number. YAML 1.1, which Python's reader follows, takes 1e-05 for a
/// string: a number with an exponent needs a point.
std::string yaml_number(double value) {
  std::array<char, 64> characters;
  const auto written =
      std::to_chars(characters.data(), characters.data() + characters.size(), value, std::chars_format::general);
  std::string text(characters.data(), written.ptr);
  const size_t exponent = text.find('e');
  if (exponent != std::string::npos && text.find('.') == std::string::npos) text.insert(exponent, ".0");
  return text;
}

class YamlWriter {
 public:
  void integer(const char* name, int64_t value, int64_t, int64_t) { out_ << name << ": " << value << '\n'; }
  void number(const char* name, double value, double, double) { out_ << name << ": " << yaml_number(value) << '\n'; }
  void flag(const char* name, bool value) { out_ << name << ": " << (value ? "true" : "false") << '\n'; }
  void choice(const char* name, const std::string& value, std::initializer_list<const char*>, const char*,
              const char*) {
    // A bare `off` would be read back as false.
    out_ << name << ": " << (value == "off" ? "\"off\"" : value) << '\n';
  }
  void integer_or_auto(const char* name, const std::optional<int64_t>& value, int64_t, int64_t) {
    out_ << name << ": " << (value ? std::to_string(*value) : "auto") << '\n';
  }
  void batch(const char* name, int64_t value, int64_t, int64_t) {
    out_ << name << ": " << (value == kAutoBatch ? "auto" : std::to_string(value)) << '\n';
  }
  void device(const char* name, const std::string& value) { out_ << name << ": " << value << '\n'; }
  void layers(const char* name, const std::vector<std::string>& prefixes) {
    out_ << name << ": [";
    for (size_t i = 0; i < prefixes.size(); ++i) out_ << (i == 0 ? "" : ", ") << prefixes[i];
    out_ << "]\n";
  }
  void number_or_auto(const char* name, const std::optional<double>& value, double low, double high) {
    if (value) return number(name, *value, low, high);
    out_ << name << ": auto\n";
  }
  std::string text() const { return out_.str(); }

 private:
  std::ostringstream out_;
};

/// Takes down what the arguments are called.
struct NameCollector {
  void integer(const char* name, auto&&...) { names.emplace_back(name); }
  void integer_or_auto(const char* name, auto&&...) { names.emplace_back(name); }
  void number(const char* name, auto&&...) { names.emplace_back(name); }
  void number_or_auto(const char* name, auto&&...) { names.emplace_back(name); }
  void flag(const char* name, auto&&...) { names.emplace_back(name); }
  void choice(const char* name, const std::string&, std::initializer_list<const char*>, const char*, const char*) {
    names.emplace_back(name);
  }
  void batch(const char* name, auto&&...) { names.emplace_back(name); }
  void device(const char* name, auto&&...) { names.emplace_back(name); }
  void layers(const char* name, auto&&...) { names.emplace_back(name); }

  std::vector<std::string> names;
};

}  // namespace

std::vector<std::string> argument_names() {
  NameCollector collector;
  const TrainArguments usual;
  visit_arguments(collector, usual);
  return collector.names;
}

const std::vector<std::pair<std::string_view, std::string_view>>& refused_arguments() {
  static const std::vector<std::pair<std::string_view, std::string_view>> refused = {
      {"data", "set `data` at the top of the config"},
      {"model", "set `model.arch` at the top of the config"},
      {"pretrained", "set `model.weights` at the top of the config"},
      {"project", "set `run.dir`"},
      {"name", "set `run.name`"},
      {"exist_ok", "a run never overwrites another; without `run.dir` it has a new folder"},
      {"resume", "set `resume.dir` to a checkpoint folder"},
      {"save", "checkpoints and weights are always saved"},
      {"task", "only detectors are trained here"},
      {"mode", "the command says it: tenfold-trainer train"},
      {"cfg", "this config is the file of all arguments"},
      {"split", "training takes the data set's train, validation its val"},
      {"multi_scale", "not supported; `scale` varies the size of objects"},
      {"single_cls", "not supported; give the data set a single class"},
      {"classes", "not supported; leave other classes out of the data set"},
      {"fraction", "not supported; list fewer images in the data set"},
      {"dropout", "not supported; detectors have no dropout"},
      {"copy_paste", "not supported; it needs segmentation masks"},
      {"overlap_mask", "not supported; it is for segmentation"},
      {"mask_ratio", "not supported; it is for segmentation"},
      {"pose", "not supported; it is for key points"},
      {"kobj", "not supported; it is for key points"},
      {"cutmix", "not supported; use `mixup` or `mosaic`"},
      {"bgr", "not supported; store the pictures in the order of channels that the detector will see"},
      {"auto_augment", "not supported; it is for classification"},
      {"erasing", "not supported; it is for classification"},
      {"crop_fraction", "not supported; it is for classification"},
      {"deterministic", "deterministic algorithms are always used"},
      {"plots", "pictures are always written"},
      {"verbose", "progress is always reported"},
      {"profile", "not supported; `tenfold-trainer inspect` tells what a model costs"},
      {"compile", "not supported; leave it out"},
  };
  return refused;
}

std::string arguments_yaml(const TrainArguments& arguments) {
  YamlWriter writer;
  visit_arguments(writer, arguments);
  return writer.text();
}

std::vector<Setting> argument_settings(const TrainArguments& arguments) {
  std::vector<Setting> settings;
  std::istringstream lines(arguments_yaml(arguments));
  for (std::string line; std::getline(lines, line);) {
    std::erase(line, '"');
    const size_t colon = line.find(": ");
    settings.push_back({line.substr(0, colon), line.substr(colon + 2)});
  }
  return settings;
}

}  // namespace tenfold
