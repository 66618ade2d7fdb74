#include "model_spec.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include "model_catalog.h"
#include "suggestion.h"

namespace tenfold {
namespace {

// Bounds far above any real network, so that a typing error is an error and not a machine out of memory.
constexpr int kMaxLayers = 1000;
constexpr int kMaxChannels = 65536;
constexpr int kMaxRepeats = 1000;
constexpr std::uintmax_t kMaxFileBytes = 1 << 20;
constexpr int kImage = -1;

struct Scale {
  double depth = 1.0;
  double width = 1.0;
  double max_channels = kMaxChannels;
};

/// Reports where in which file something is wrong.
class Source {
 public:
  explicit Source(std::string name) : name_(std::move(name)) {}

  [[noreturn]] void fail(const YAML::Node& at, const std::string& problem) const {
    std::ostringstream message;
    message << name_;
    if (at.Mark().line >= 0) message << ":" << at.Mark().line + 1;
    message << ": " << problem;
    throw ModelError(message.str());
  }

  template <typename T>
  T as(const YAML::Node& node, const std::string& what, const std::string& wanted) const {
    if (!node.IsScalar()) fail(node, what + " must be " + wanted);
    try {
      return node.as<T>();
    } catch (const YAML::Exception&) {
      fail(node, what + " must be " + wanted + ", not \"" + node.Scalar() + "\"");
    }
  }

  double number(const YAML::Node& node, const std::string& what) const {
    const auto value = as<double>(node, what, "a number");
    if (!std::isfinite(value)) fail(node, what + " must be a finite number");
    return value;
  }

  int positive_int(const YAML::Node& node, const std::string& what, int max) const {
    const std::string wanted = "a whole number of 1 to " + std::to_string(max);
    const auto value = as<int>(node, what, wanted);
    if (value < 1 || value > max) fail(node, what + " must be " + wanted + ", not \"" + node.Scalar() + "\"");
    return value;
  }

 private:
  std::string name_;
};

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

Family parse_family(const Source& source, const YAML::Node& root) {
  std::string known;
  for (const auto family : {Family::v5, Family::v8, Family::v10})
    known.append(known.empty() ? "" : ", ").append(to_string(family));
  if (!root["family"]) source.fail(root, "`family` is missing; known: " + known);
  const auto name = source.as<std::string>(root["family"], "family", "a name");
  for (const auto family : {Family::v5, Family::v8, Family::v10})
    if (name == to_string(family)) return family;
  source.fail(root["family"], "unknown family \"" + name + "\"; known: " + known);
}

std::vector<std::string> size_names(const YAML::Node& sizes) {
  std::vector<std::string> names;
  for (const auto& entry : sizes) names.push_back(entry.first.Scalar());
  return names;
}

/// The size to build: the one asked for, else the file's own choice, else the only one there is.
std::string choose_size(const Source& source, const YAML::Node& root, const std::string& asked) {
  const auto sizes = root["sizes"];
  if (!sizes) {
    if (!asked.empty()) source.fail(root, "size \"" + asked + "\" asked for, but the file has no `sizes`");
    if (const auto size = root["size"])
      source.fail(size, "size \"" + source.as<std::string>(size, "size", "a name") + "\", but the file has no `sizes`");
    return "";
  }
  if (!sizes.IsMap() || sizes.size() == 0) source.fail(sizes, "`sizes` must map names to depth, width, max_channels");
  const auto names = size_names(sizes);
  std::string size = asked;
  if (size.empty() && root["size"]) size = source.as<std::string>(root["size"], "size", "a name");
  if (size.empty() && names.size() == 1) size = names.front();
  if (size.empty()) source.fail(sizes, "which size? Add a line `size: …` with one of " + join(names));
  if (!sizes[size]) source.fail(sizes, "unknown size \"" + size + "\"; known: " + join(names));
  return size;
}

Scale parse_scale(const Source& source, const YAML::Node& root, const std::string& size) {
  Scale scale;
  if (size.empty()) return scale;
  const auto node = root["sizes"][size];
  if (!node.IsMap()) source.fail(node, "size " + size + " must be a map of depth, width, max_channels");
  for (const auto& entry : node) {
    const auto key = entry.first.Scalar();
    const auto value = source.number(entry.second, key);
    if (value <= 0) source.fail(entry.second, key + " must be above 0");
    if (key == "depth")
      scale.depth = value;
    else if (key == "width")
      scale.width = value;
    else if (key == "max_channels")
      scale.max_channels = value;
    else
      source.fail(entry.first, "unknown key \"" + key + "\"; known: depth, width, max_channels");
  }
  return scale;
}

int scale_channels(int channels, const Scale& scale) {
  constexpr int kMultiple = 8;
  const double scaled = std::min<double>(channels, scale.max_channels) * scale.width;
  return static_cast<int>(std::ceil(scaled / kMultiple)) * kMultiple;
}

int scale_repeats(int repeats, const Scale& scale) {
  return repeats == 1 ? 1 : std::max(1, static_cast<int>(std::lround(repeats * scale.depth)));
}

/// Reads the list of layers, resolving names to numbers.
class LayerReader {
 public:
  /// `size` is the one of `sizes` that is built.
  LayerReader(const Source& source, const Scale& scale, std::string size, std::vector<std::string> sizes)
      : source_(source), scale_(scale), size_(std::move(size)), sizes_(std::move(sizes)) {}

  std::vector<LayerSpec> read(const YAML::Node& nodes) {
    if (!nodes.IsSequence() || nodes.size() == 0) source_.fail(nodes, "`layers` must be a list of layers");
    if (nodes.size() > kMaxLayers) source_.fail(nodes, "more than " + std::to_string(kMaxLayers) + " layers");
    std::vector<LayerSpec> layers;
    for (const auto& node : nodes) layers.push_back(read_layer(node, static_cast<int>(layers.size())));
    return layers;
  }

 private:
  LayerSpec read_layer(const YAML::Node& node, int number) {
    const std::string where = "layer " + std::to_string(number);
    if (!node.IsMap() || !node["block"]) source_.fail(node, where + " must be a map with a `block`");
    LayerSpec layer;
    layer.inputs = {number - 1};
    for (const auto& [name, value] : keys_at_size(node, where)) {
      const auto key = name.Scalar();
      const auto what = where + ": " + key;
      if (key == "block")
        layer.block = source_.as<std::string>(value, what, "a name");
      else if (key == "id")
        name_layer(value, number, what);
      else if (key == "from")
        layer.inputs = read_inputs(value, number, what);
      else if (key == "channels")
        layer.channels = scaled_channels(value, what);
      else if (key == "repeats")
        layer.repeats = scale_repeats(source_.positive_int(value, what, kMaxRepeats), scale_);
      else
        layer.options[key] = read_option(value, what);
    }
    return layer;
  }

  /// The layer's keys, with those that `at_size` replaces or adds for the size that is built.
  std::vector<std::pair<YAML::Node, YAML::Node>> keys_at_size(const YAML::Node& node, const std::string& where) const {
    std::vector<std::pair<YAML::Node, YAML::Node>> keys;
    const auto special = special_keys(node["at_size"], where);
    for (const auto& entry : node)
      if (entry.first.Scalar() != "at_size" && !(special && special[entry.first.Scalar()]))
        keys.emplace_back(entry.first, entry.second);
    if (special)
      for (const auto& entry : special) keys.emplace_back(entry.first, entry.second);
    return keys;
  }

  YAML::Node special_keys(const YAML::Node& by_size, const std::string& where) const {
    if (!by_size) return YAML::Node(YAML::NodeType::Undefined);
    if (!by_size.IsMap()) source_.fail(by_size, where + ": at_size must map sizes to keys of the layer");
    for (const auto& entry : by_size) {
      const auto size = entry.first.Scalar();
      if (std::find(sizes_.begin(), sizes_.end(), size) == sizes_.end())
        source_.fail(entry.first, where + ": at_size: unknown size \"" + size + "\"; known: " + join(sizes_));
      if (!entry.second.IsMap()) source_.fail(entry.second, where + ": at_size: " + size + " must be a map of keys");
    }
    return by_size[size_];
  }

  int scaled_channels(const YAML::Node& node, const std::string& what) const {
    const int channels = scale_channels(source_.positive_int(node, what, kMaxChannels), scale_);
    if (channels > kMaxChannels)
      source_.fail(node, what + " is above " + std::to_string(kMaxChannels) + " when scaled");
    return channels;
  }

  void name_layer(const YAML::Node& node, int number, const std::string& what) {
    const auto id = source_.as<std::string>(node, what, "a name");
    if (id == "previous" || id == "image") source_.fail(node, what + " \"" + id + "\" is a reserved word");
    if (!ids_.emplace(id, number).second) source_.fail(node, what + " \"" + id + "\" names two layers");
  }

  std::vector<int> read_inputs(const YAML::Node& node, int number, const std::string& what) const {
    if (node.IsScalar()) return {read_input(node, number, what)};
    if (!node.IsSequence() || node.size() == 0) source_.fail(node, what + " must name layers");
    std::vector<int> inputs;
    for (const auto& item : node) inputs.push_back(read_input(item, number, what));
    return inputs;
  }

  int read_input(const YAML::Node& node, int number, const std::string& what) const {
    const auto text = source_.as<std::string>(node, what, "a layer's id or position");
    if (text == "image") return kImage;
    if (text == "previous") return number - 1;
    if (const auto found = ids_.find(text); found != ids_.end()) return found->second;
    int position = 0;
    if (!YAML::convert<int>::decode(node, position)) source_.fail(node, what + ": no earlier layer has the id " + text);
    if (position < 0 || position >= number) source_.fail(node, what + ": " + text + " is not an earlier layer");
    return position;
  }

  /// A number, a list of numbers, or a list of such lists; all as one list.
  std::vector<double> read_option(const YAML::Node& node, const std::string& what) const {
    if (node.IsScalar()) return {read_value(node, what)};
    if (!node.IsSequence()) source_.fail(node, what + " must be a number or a list of numbers");
    std::vector<double> values;
    for (const auto& item : node) {
      if (item.IsSequence() != node[0].IsSequence() || (item.IsSequence() && item.size() != node[0].size()))
        source_.fail(item, what + ": its lists must be equally long");
      const auto read = read_option(item, what);
      values.insert(values.end(), read.begin(), read.end());
    }
    return values;
  }

  double read_value(const YAML::Node& node, const std::string& what) const {
    bool flag = false;
    if (node.IsScalar() && YAML::convert<bool>::decode(node, flag)) return flag ? 1.0 : 0.0;
    return source_.number(node, what);
  }

  const Source& source_;
  const Scale& scale_;
  std::string size_;
  std::vector<std::string> sizes_;
  std::map<std::string, int> ids_;
};

/// Users bring the model yamls of other YOLO tools, whose layers are rows of numbers under `backbone` and `head`.
void refuse_foreign_format(const Source& source, const YAML::Node& root) {
  for (const char* key : {"backbone", "head", "nc", "scales", "depth_multiple", "width_multiple"})
    if (root[key] && !root["layers"])
      source.fail(root, "has a `" + std::string(key) +
                            "`, so it is a model yaml of another YOLO tool, in another format. Here a yaml has "
                            "`family`, `sizes` and `layers`, and the data set says how many classes there are; `tenfold-trainer "
                            "inspect yolov8n --yaml` prints one that explains itself, to start yours from");
}

void check_keys(const Source& source, const YAML::Node& root) {
  static const std::set<std::string> known = {"family", "sizes", "size", "layers"};
  if (!root.IsMap()) source.fail(root, "a model yaml must be a map with `family` and `layers`");
  refuse_foreign_format(source, root);
  for (const auto& entry : root) {
    const auto key = entry.first.Scalar();
    if (!known.count(key)) source.fail(entry.first, "unknown key \"" + key + "\"; known: family, sizes, size, layers");
  }
  if (!root["layers"]) source.fail(root, "`layers` is missing");
}

std::string read_model_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (!error && bytes > kMaxFileBytes) throw ModelError(path.string() + ": too large for a model yaml (above 1 MiB)");
  if (!error && bytes == 0) throw ModelError(path.string() + ": is empty");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (error || !file || !(text << file.rdbuf())) throw ModelError(path.string() + ": cannot be read");
  return text.str();
}

/// "yolov8n" -> the embedded yolov8 and "n"; nothing where no embedded model has such a size.
std::optional<ModelSpec> find_built_in(const std::string& name) {
  for (const auto& model : embedded_models()) {
    if (name.size() <= model.stem.size() || !name.starts_with(model.stem)) continue;
    const auto size = name.substr(model.stem.size());
    const auto names = size_names(YAML::Load(model.yaml)["sizes"]);
    if (std::find(names.begin(), names.end(), size) == names.end()) continue;
    auto spec = parse_model_spec(model.yaml, size, model.stem + ".yaml");
    spec.name = name;
    return spec;
  }
  return std::nullopt;
}

std::string without_yaml_suffix(const std::string& name) {
  for (const std::string suffix : {".yaml", ".yml"})
    if (name.ends_with(suffix)) return name.substr(0, name.size() - suffix.size());
  return name;
}

std::string joined_sizes(const EmbeddedModel& model) {
  std::string text;
  for (const auto& size : size_names(YAML::Load(model.yaml)["sizes"]))
    text.append(text.empty() ? "" : ", ").append(model.stem).append(size);
  return text;
}

std::string in_lower_case(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// Nothing is called `name`. Says what can be, first of all to those who know the names of other YOLO tools.
[[noreturn]] void refuse_unknown_model(const std::string& name) {
  const std::filesystem::path path(name);
  const std::string no_model = "no model \"" + name + "\": ", kind = in_lower_case(path.extension().string());
  if (kind == ".pt" || kind == ".pth") {
    const auto stem = path.stem().string();
    throw ModelError(no_model + "that is a PyTorch checkpoint; a model is a built-in name or a model yaml" +
                     (find_built_in(stem) ? ", here `" + stem + "`" : "") +
                     ". To start from the checkpoint's weights: tenfold-trainer import " + name + ", then weights=" +
                     stem + ".safetensors (model.weights in a config)");
  }
  if (kind == ".safetensors")
    throw ModelError(no_model + "those are weights; a model is a built-in name or a model yaml. To start from them: " +
                     "weights=" + name + " (model.weights in a config)");
  const std::string stem = in_lower_case(without_yaml_suffix(path.filename().string()));
  for (const auto& model : embedded_models())
    if (stem == model.stem) throw ModelError(no_model + "which size? There are " + joined_sizes(model));
  const auto known = built_in_models();
  throw ModelError(no_model + "neither a yaml file nor one of " + join(known) + suggestion(stem, known));
}

ModelSpec load_file(const std::filesystem::path& path, const std::string& size) {
  auto spec = parse_model_spec(read_model_file(path), size, path.string());
  spec.name = path.stem().string() + spec.name;
  return spec;
}

}  // namespace

std::string_view to_string(Family family) {
  switch (family) {
    case Family::v5:
      return "v5";
    case Family::v8:
      return "v8";
    case Family::v10:
      return "v10";
  }
  throw std::logic_error("a family without a name");
}

std::string layer_in_text(const ModelSpec& spec, size_t number) {
  std::string text = spec.source.empty() ? spec.name : spec.source;
  if (number < spec.lines.size()) text.append(":").append(std::to_string(spec.lines[number]));
  return text + ": layer " + std::to_string(number) + " (" + spec.layers.at(number).block + ")";
}

ModelSpec parse_model_spec(const std::string& yaml, const std::string& size, const std::string& source_name) {
  const Source source(source_name);
  YAML::Node root;
  try {
    root = YAML::Load(yaml);
  } catch (const YAML::Exception& error) {
    throw ModelError(source_name + ": not a yaml file: " + error.what());
  }
  check_keys(source, root);
  ModelSpec spec;
  spec.family = parse_family(source, root);
  spec.name = choose_size(source, root, size);
  const Scale scale = parse_scale(source, root, spec.name);
  spec.layers = LayerReader(source, scale, spec.name, size_names(root["sizes"])).read(root["layers"]);
  for (const auto& node : root["layers"]) spec.lines.push_back(node.Mark().line + 1);
  spec.yaml = yaml;
  spec.size = spec.name;
  spec.source = source_name;
  return spec;
}

ModelSpec load_model_spec(const std::string& arch_or_path) {
  const std::filesystem::path path(arch_or_path);
  const auto stem = without_yaml_suffix(arch_or_path);
  const bool names_a_file = stem != arch_or_path;
  if (names_a_file && std::filesystem::is_regular_file(path)) return load_file(path, "");
  if (auto spec = find_built_in(stem)) return *spec;
  if (names_a_file && !stem.empty()) {
    const std::filesystem::path sizeless(stem.substr(0, stem.size() - 1) + path.extension().string());
    if (std::filesystem::is_regular_file(sizeless)) return load_file(sizeless, stem.substr(stem.size() - 1));
  }
  refuse_unknown_model(arch_or_path);
}

bool same_network(const ModelSpec& a, const ModelSpec& b) { return a.family == b.family && a.layers == b.layers; }

std::vector<std::string> built_in_models() {
  std::vector<std::string> names;
  for (const auto& model : embedded_models())
    for (const auto& size : size_names(YAML::Load(model.yaml)["sizes"])) names.push_back(model.stem + size);
  return names;
}

}  // namespace tenfold
