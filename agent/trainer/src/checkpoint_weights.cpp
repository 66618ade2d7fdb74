#include "checkpoint_weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

namespace tenfold {
namespace {

// Modules refer to each other as a file wants: in circles, or each to the next twice, which makes 2^60 ways through 60 of
// them. So what is counted is all that the walk looks at, on whatever way. These end it long after any network would: the
// largest have tens of thousands of entries.
constexpr int kMaxDepth = 64;
constexpr size_t kMaxEntries = 2'000'000;
constexpr size_t kMaxTensors = 100'000;
constexpr size_t kMaxNameBytes = 1000;  // of a tensor with all its modules, and of a class
constexpr int kMaxClasses = 100'000;

/// The dict of an object's attributes; a dict is its own. Null where an object has none.
const PickleValue* attributes_of(const PickleValue& value) {
  const auto* record = value.as<PickleRecord>();
  if (record == nullptr) return &value;
  if (record->state == nullptr) return nullptr;
  // An object with slots has a pair of dicts.
  if (const auto* pair = record->state->as<PickleTuple>()) return pair->items.empty() ? nullptr : pair->items.front();
  return record->state;
}

/// An attribute of an object, or the value of a dict's key; null where there is none.
PickleRef attribute(const PickleValue& value, std::string_view name) {
  const PickleValue* attributes = attributes_of(value);
  return attributes == nullptr ? nullptr : attributes->find(name);
}

/// The entries of a dict, or of an object that is a kind of dict; empty for anything else.
const PickleEntries& entries_of(const PickleValue* value) {
  static const PickleEntries none;
  if (value == nullptr) return none;
  if (const auto* dict = value->as<PickleDict>()) return dict->entries;
  if (const auto* record = value->as<PickleRecord>()) return record->entries;
  return none;
}

/// A text that is no longer than a name may be; null for anything else.
const std::string* text_of_a_name(const PickleValue& value) {
  const auto* text = value.as<std::string>();
  return text != nullptr && text->size() <= kMaxNameBytes ? text : nullptr;
}

bool is_module(const PickleValue& value) {
  return value.as<PickleRecord>() != nullptr && attribute(value, "_modules") != nullptr;
}

/// Collects tensors by name.
class Collector {
 public:
  explicit Collector(TorchCheckpoint& checkpoint) : checkpoint_(checkpoint) {}

  /// A torch.nn.Module: its own parameters and buffers, then those of its modules, as state_dict() names them.
  void add_module(const PickleValue& module, const std::string& prefix, int depth = 0) {
    if (depth > kMaxDepth) throw CheckpointError("its modules are nested too deeply, or in a circle");
    count(1 + entries_of(attributes_of(module)).size());
    add_tensors(entries_of(attribute(module, "_parameters")), prefix, {});
    add_tensors(entries_of(attribute(module, "_buffers")), prefix, transient_buffers(module));
    const PickleEntries& children = entries_of(attribute(module, "_modules"));
    count(children.size());
    for (const auto& [key, child] : children) {
      const auto* name = key->as<std::string>();
      if (name != nullptr && child->as<PickleRecord>() != nullptr)
        add_module(*child, name_within(prefix, *name) + ".", depth + 1);
    }
  }

  void add_tensors(const PickleEntries& entries, const std::string& prefix, const std::set<std::string>& left_out) {
    count(entries.size());
    for (const auto& [key, value] : entries) {
      const auto* name = key->as<std::string>();
      const auto* tensor = value->as<PickleTensor>();
      if (name != nullptr && tensor != nullptr && !left_out.contains(*name)) add(name_within(prefix, *name), *tensor);
    }
  }

  NamedTensors take() { return std::move(tensors_); }

 private:
  void count(size_t entries) {
    entries_ += entries;
    if (entries_ > kMaxEntries)
      throw CheckpointError("its modules have more than " + std::to_string(kMaxEntries) + " entries, more than any network");
  }

  static std::string name_within(const std::string& prefix, const std::string& name) {
    if (prefix.size() + name.size() > kMaxNameBytes)
      throw CheckpointError("a tensor's name has more than " + std::to_string(kMaxNameBytes) + " bytes");
    return prefix + name;
  }

  /// Buffers that state_dict() leaves out.
  std::set<std::string> transient_buffers(const PickleValue& module) {
    std::set<std::string> names;
    const PickleRef listed = attribute(module, "_non_persistent_buffers_set");
    const auto* list = listed == nullptr ? nullptr : listed->as<PickleList>();
    if (list == nullptr) return names;
    count(list->items.size());
    for (const PickleRef item : list->items)
      if (const auto* name = text_of_a_name(*item)) names.insert(*name);
    return names;
  }

  void add(const std::string& name, const PickleTensor& tensor) {
    if (tensors_.size() >= kMaxTensors) throw CheckpointError("it has more tensors than any network");
    if (!names_.insert(name).second) return;
    at::Tensor values = checkpoint_.load(tensor);
    if (values.scalar_type() == at::kHalf || values.scalar_type() == at::kBFloat16 ||
        values.scalar_type() == at::kDouble)
      values = values.to(at::kFloat);
    tensors_.emplace_back(name, values);
  }

  TorchCheckpoint& checkpoint_;
  NamedTensors tensors_;
  std::set<std::string> names_;
  size_t entries_ = 0;  // looked at so far
};

bool has_tensors(const PickleValue& value) {
  for (const auto& [key, item] : entries_of(&value))
    if (key->as<std::string>() != nullptr && item->as<PickleTensor>() != nullptr) return true;
  return false;
}

/// The value that holds the weights, and what people may call it.
struct Place {
  const PickleValue* value = nullptr;
  std::string name;
};

Place find_weights(const PickleValue& root) {
  const auto holds = [](const PickleValue* value) {
    return value != nullptr && (is_module(*value) || has_tensors(*value));
  };
  for (const char* key : {"ema", "model", "state_dict", "model_state_dict"})
    if (const PickleValue* value = root.find(key); holds(value)) return {value, key};
  if (holds(&root)) return {&root, "the file"};
  return {};
}

/// Wrappers (data parallel, compiled) put their name before every tensor's.
std::string without_wrappers(std::string name) {
  constexpr std::array<std::string_view, 2> kWrappers = {"module.", "_orig_mod."};
  for (bool again = true; again;) {
    again = false;
    for (const std::string_view wrapper : kWrappers) {
      if (!name.starts_with(wrapper)) continue;
      name.erase(0, wrapper.size());
      again = true;
    }
  }
  return name;
}

std::optional<int> whole_number(const PickleValue* value, int high) {
  const auto* number = value == nullptr ? nullptr : value->as<int64_t>();
  if (number == nullptr || *number < 1 || *number > high) return std::nullopt;
  return static_cast<int>(*number);
}

/// A list of names, or a dict by class number. Empty where there are more of them than classes may be.
std::vector<std::string> names_in(const PickleValue* value) {
  std::vector<std::string> names;
  if (value == nullptr) return names;
  const auto* list = value->as<PickleList>();
  const PickleEntries& entries = entries_of(value);
  if (std::max(list == nullptr ? 0 : list->items.size(), entries.size()) > kMaxClasses) return names;
  if (list != nullptr)
    for (const PickleRef item : list->items)
      if (const auto* name = text_of_a_name(*item)) names.push_back(*name);
  if (!entries.empty()) names.resize(entries.size());
  for (const auto& [key, item] : entries) {
    const auto* cls = key->as<int64_t>();
    const auto* name = text_of_a_name(*item);
    if (cls == nullptr || name == nullptr || *cls < 0 || static_cast<size_t>(*cls) >= names.size()) return {};
    names[static_cast<size_t>(*cls)] = *name;
  }
  return names;
}

std::optional<int> largest_stride(TorchCheckpoint& checkpoint, const PickleValue* value) {
  const auto* tensor = value == nullptr ? nullptr : value->as<PickleTensor>();
  if (tensor == nullptr) return whole_number(value, 1 << 16);
  const at::Tensor strides = checkpoint.load(*tensor);
  if (strides.numel() == 0) return std::nullopt;
  return static_cast<int>(strides.max().item<double>());
}

void describe(TorchCheckpoint& checkpoint, const PickleValue& place, CheckpointWeights& weights) {
  const PickleValue& root = checkpoint.root();
  weights.names = names_in(attribute(place, "names"));
  if (weights.names.empty()) weights.names = names_in(root.find("names"));
  weights.nc = whole_number(attribute(place, "nc"), kMaxClasses);
  if (!weights.nc)
    if (const PickleRef yaml = attribute(place, "yaml")) weights.nc = whole_number(yaml->find("nc"), kMaxClasses);
  weights.stride = largest_stride(checkpoint, attribute(place, "stride"));
  for (const char* key : {"train_args", "opt"})
    if (const PickleRef arguments = root.find(key); arguments != nullptr && !weights.imgsz)
      weights.imgsz = whole_number(attribute(*arguments, "imgsz"), 1 << 16);
}

}  // namespace

CheckpointWeights weights_in(TorchCheckpoint& checkpoint) {
  const Place place = find_weights(checkpoint.root());
  if (place.value == nullptr)
    throw CheckpointError(
        "it has no weights where they are looked for: a module or a state dict, itself or under \"ema\", \"model\" or "
        "\"state_dict\"");
  CheckpointWeights weights;
  weights.found_in = place.name;
  Collector collector(checkpoint);
  if (is_module(*place.value)) {
    weights.found_in += " (" + place.value->as<PickleRecord>()->type.full() + ")";
    collector.add_module(*place.value, "");
  } else {
    collector.add_tensors(entries_of(place.value), "", {});
  }
  for (auto& [name, tensor] : collector.take())
    weights.tensors.emplace_back(without_wrappers(std::move(name)), std::move(tensor));
  if (weights.tensors.empty()) throw CheckpointError("its " + place.name + " has no tensors");
  describe(checkpoint, *place.value, weights);
  return weights;
}

}  // namespace tenfold
