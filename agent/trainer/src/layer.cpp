// From a layer's description to the block it names. A new block is one function and one entry in `layer_makers`
// (or `head_makers`).
#include "layer.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/upsample_nearest2d.h>

#include <algorithm>
#include <map>
#include <set>

#include "blocks_compact.h"

namespace tenfold {
namespace {

/// Reads a layer's options and notices those that nobody asked for.
class Keys {
 public:
  Keys(const LayerSpec& spec, std::string where) : spec_(spec), where_(std::move(where)) {}

  [[noreturn]] void fail(const std::string& problem) const { throw ModelError(where_ + ": " + problem); }

  int positive(const std::string& key, int fallback) {
    const double value = scalar(key, fallback);
    if (value < 1 || value > 4096 || value != static_cast<int>(value)) fail(key + " must be a whole number above 0");
    return static_cast<int>(value);
  }

  /// Of a box side's distribution: a side is found between two of them.
  int bins(const std::string& key, int fallback) {
    const int value = positive(key, fallback);
    if (value < 2) fail(key + " must be 2 or more");
    return value;
  }

  int odd(const std::string& key, int fallback) {
    const int value = positive(key, fallback);
    if (value % 2 == 0) fail(key + " must be odd");
    return value;
  }

  bool flag(const std::string& key, bool fallback) {
    const double value = scalar(key, fallback ? 1 : 0);
    if (value != 0 && value != 1) fail(key + " must be true or false");
    return value == 1;
  }

  /// The values of a list, which may be written as several of equal length.
  const std::vector<double>& list(const std::string& key) {
    used_.insert(key);
    const auto found = spec_.options.find(key);
    if (found == spec_.options.end()) fail(key + " is missing");
    return found->second;
  }

  int64_t channels() {
    if (spec_.channels == 0) fail("channels is missing");
    channels_used_ = true;
    return spec_.channels;
  }

  int repeats() {
    repeats_used_ = true;
    return spec_.repeats;
  }

  const MapShape& only(const std::vector<MapShape>& inputs) const {
    if (inputs.size() != 1) fail("takes one input, not " + std::to_string(inputs.size()));
    return inputs.front();
  }

  /// Call last: everything the yaml says must have had a reader.
  void finish() const {
    if (spec_.channels != 0 && !channels_used_) fail("has no use for channels");
    if (spec_.repeats != 1 && !repeats_used_) fail("has no use for repeats");
    for (const auto& [key, values] : spec_.options)
      if (!used_.count(key)) fail("unknown key \"" + key + "\"" + known());
  }

 private:
  double scalar(const std::string& key, double fallback) {
    used_.insert(key);
    const auto found = spec_.options.find(key);
    if (found == spec_.options.end()) return fallback;
    if (found->second.size() != 1) fail(key + " must be one value");
    return found->second.front();
  }

  std::string known() const {
    std::string text;
    for (const auto& key : used_) text += (text.empty() ? "; known: " : ", ") + key;
    return text;
  }

  const LayerSpec& spec_;
  std::string where_;
  bool channels_used_ = false;
  bool repeats_used_ = false;
  std::set<std::string> used_;
};

/// A layer that runs `module` on its only input.
template <typename Module>
Layer layer_of(std::shared_ptr<Module> module, const MapShape& output) {
  return {module, [module](const std::vector<at::Tensor>& inputs) { return module->forward(inputs.front()); }, output};
}

Layer make_conv(Keys& keys, const std::vector<MapShape>& inputs) {
  const auto [in, in_stride] = keys.only(inputs);
  const int kernel = keys.positive("kernel", 1);
  const int stride = keys.positive("stride", 1);
  if (kernel % 2 == 0 && stride % 2 != 0) keys.fail("an even kernel needs an even stride");
  const int64_t out = keys.channels();
  const ConvOptions options{.stride = stride, .groups = keys.positive("groups", 1)};
  if (in % options.groups != 0 || out % options.groups != 0)
    keys.fail("groups must divide " + std::to_string(in) + " and " + std::to_string(out) + " channels");
  return layer_of(std::make_shared<Conv>(in, out, kernel, options), {out, in_stride * stride});
}

Layer make_c2f(Keys& keys, const std::vector<MapShape>& inputs) {
  const auto [in, stride] = keys.only(inputs);
  const int64_t out = keys.channels();
  const bool shortcut = keys.flag("shortcut", false);
  const auto link = [shortcut](int64_t width) { return std::make_shared<Bottleneck>(width, shortcut, 3); };
  return layer_of(std::make_shared<C2f>(in, out, keys.repeats(), link), {out, stride});
}

Layer make_c2f_cib(Keys& keys, const std::vector<MapShape>& inputs) {
  const auto [in, stride] = keys.only(inputs);
  const int64_t out = keys.channels();
  const bool shortcut = keys.flag("shortcut", false), large_kernel = keys.flag("large_kernel", false);
  const auto link = [=](int64_t width) { return std::make_shared<CIB>(width, shortcut, large_kernel); };
  return layer_of(std::make_shared<C2f>(in, out, keys.repeats(), link), {out, stride});
}

Layer make_c3(Keys& keys, const std::vector<MapShape>& inputs) {
  const auto [in, stride] = keys.only(inputs);
  const int64_t out = keys.channels();
  const bool shortcut = keys.flag("shortcut", false);
  return layer_of(std::make_shared<C3>(in, out, keys.repeats(), shortcut), {out, stride});
}

Layer make_scdown(Keys& keys, const std::vector<MapShape>& inputs) {
  const auto [in, in_stride] = keys.only(inputs);
  const int64_t out = keys.channels();
  const int kernel = keys.odd("kernel", 3), stride = keys.positive("stride", 2);
  return layer_of(std::make_shared<SCDown>(in, out, kernel, stride), {out, in_stride * stride});
}

Layer make_psa(Keys& keys, const std::vector<MapShape>& inputs) {
  const auto [channels, stride] = keys.only(inputs);
  const int64_t heads = PSA::heads_of(channels);
  if (channels % 2 != 0 || channels / 2 % heads != 0 || channels / 2 / heads < 2)
    keys.fail("cannot share " + std::to_string(channels) + " channels out to its heads");
  return layer_of(std::make_shared<PSA>(channels), {channels, stride});
}

Layer make_sppf(Keys& keys, const std::vector<MapShape>& inputs) {
  const auto [in, stride] = keys.only(inputs);
  const int64_t out = keys.channels();
  return layer_of(std::make_shared<SPPF>(in, out, keys.odd("kernel", 5)), {out, stride});
}

Layer make_upsample(Keys& keys, const std::vector<MapShape>& inputs) {
  const auto [channels, stride] = keys.only(inputs);
  const int scale = keys.positive("scale", 2);
  if (stride % scale != 0) keys.fail("cannot upsample a map of stride " + std::to_string(stride));
  const auto forward = [scale](const std::vector<at::Tensor>& maps) {
    const auto& x = maps.front();
    return at::upsample_nearest2d(x, {x.size(2) * scale, x.size(3) * scale});
  };
  return {nullptr, forward, {channels, stride / scale}};
}

Layer make_concat(Keys& keys, const std::vector<MapShape>& inputs) {
  MapShape output{0, inputs.front().stride};
  for (const auto& input : inputs) {
    if (input.stride != output.stride)
      keys.fail("joins maps of stride " + std::to_string(output.stride) + " and " + std::to_string(input.stride));
    output.channels += input.channels;
  }
  return {nullptr, [](const std::vector<at::Tensor>& maps) { return at::cat(maps, 1); }, output};
}

/// The scales that a head looks at.
struct Scales {
  std::vector<int64_t> channels;
  std::vector<int> strides;
};

Scales scales_of(const Keys& keys, const std::vector<MapShape>& inputs) {
  Scales scales;
  for (const auto& input : inputs) {
    if (!scales.strides.empty() && input.stride <= scales.strides.back())
      keys.fail("inputs must go from fine to coarse");
    scales.channels.push_back(input.channels);
    scales.strides.push_back(input.stride);
  }
  return scales;
}

std::shared_ptr<Head> make_detect(Keys& keys, const std::vector<MapShape>& inputs, int nc) {
  const auto [channels, strides] = scales_of(keys, inputs);
  return std::make_shared<Detect>(channels, strides, nc, keys.bins("reg_max", 16));
}

std::shared_ptr<Head> make_dual_detect(Keys& keys, const std::vector<MapShape>& inputs, int nc) {
  const auto [channels, strides] = scales_of(keys, inputs);
  return std::make_shared<DualDetect>(channels, strides, nc, keys.bins("reg_max", 16));
}

std::shared_ptr<Head> make_anchor_detect(Keys& keys, const std::vector<MapShape>& inputs, int nc) {
  const auto [channels, strides] = scales_of(keys, inputs);
  const auto& anchors = keys.list("anchors");
  if (anchors.empty() || anchors.size() % (2 * strides.size()) != 0)
    keys.fail("anchors must be widths and heights, equally many for each of " + std::to_string(strides.size()) +
              " scales");
  for (const double side : anchors)
    if (side <= 0) keys.fail("anchors must be above 0");
  return std::make_shared<AnchorDetect>(channels, strides, nc, anchors);
}

using LayerMaker = Layer (*)(Keys&, const std::vector<MapShape>&);
using HeadMaker = std::shared_ptr<Head> (*)(Keys&, const std::vector<MapShape>&, int);

const std::map<std::string, LayerMaker>& layer_makers() {
  static const std::map<std::string, LayerMaker> makers = {
      {"Conv", make_conv},     {"C2f", make_c2f},           {"C2fCIB", make_c2f_cib}, {"C3", make_c3},
      {"SCDown", make_scdown}, {"PSA", make_psa},           {"SPPF", make_sppf},      {"Upsample", make_upsample},
      {"Concat", make_concat}};
  return makers;
}

const std::map<std::string, HeadMaker>& head_makers() {
  static const std::map<std::string, HeadMaker> makers = {
      {"AnchorDetect", make_anchor_detect}, {"Detect", make_detect}, {"DualDetect", make_dual_detect}};
  return makers;
}

/// The maker that `spec` names, or an error that lists the names there are.
template <typename Maker>
Maker find_maker(const std::map<std::string, Maker>& makers, const LayerSpec& spec, const Keys& keys,
                 const std::string& kind) {
  if (const auto found = makers.find(spec.block); found != makers.end()) return found->second;
  std::string known;
  for (const auto& [name, maker] : makers) known += (known.empty() ? "" : ", ") + name;
  keys.fail("not a block that " + kind + "; known: " + known);
}

}  // namespace

Layer make_layer(const LayerSpec& spec, const std::string& where, const std::vector<MapShape>& inputs) {
  Keys keys(spec, where);
  auto layer = find_maker(layer_makers(), spec, keys, "can stand before the last layer")(keys, inputs);
  keys.finish();
  return layer;
}

std::shared_ptr<Head> make_head(const LayerSpec& spec, const std::string& where, const std::vector<MapShape>& inputs,
                                int nc) {
  Keys keys(spec, where);
  auto head = find_maker(head_makers(), spec, keys, "can be the last layer")(keys, inputs, nc);
  keys.finish();
  return head;
}

}  // namespace tenfold
