#include "pickle_calls.h"

#include <map>
#include <set>

namespace tenfold {
namespace {

using Data = decltype(PickleValue::data);

constexpr size_t kMaxDimensions = 16;

[[noreturn]] void wrong_arguments(const std::string& callable) {
  throw PickleError("damaged: " + callable + " with arguments that it does not take");
}

template <typename T>
const T& argument(const PickleItems& arguments, size_t i, const char* callable) {
  const T* value = i < arguments.size() ? arguments[i]->as<T>() : nullptr;
  if (value == nullptr) wrong_arguments(callable);
  return *value;
}

std::vector<int64_t> numbers(const PickleTuple& tuple, const char* callable) {
  std::vector<int64_t> all;
  for (const PickleRef item : tuple.items) {
    const auto* number = item->as<int64_t>();
    if (number == nullptr || *number < 0 || all.size() == kMaxDimensions) wrong_arguments(callable);
    all.push_back(*number);
  }
  return all;
}

/// torch._utils._rebuild_tensor_v2(storage, offset, size, stride, …)
Data rebuild_tensor(const PickleItems& arguments) {
  constexpr const char* kName = "torch._utils._rebuild_tensor_v2";
  PickleTensor tensor;
  argument<PickleStorage>(arguments, 0, kName);
  tensor.storage = arguments[0];
  tensor.offset = argument<int64_t>(arguments, 1, kName);
  tensor.sizes = numbers(argument<PickleTuple>(arguments, 2, kName), kName);
  tensor.strides = numbers(argument<PickleTuple>(arguments, 3, kName), kName);
  if (tensor.offset < 0 || tensor.sizes.size() != tensor.strides.size()) wrong_arguments(kName);
  return tensor;
}

/// torch._utils._rebuild_parameter(tensor, requires_grad, hooks): the tensor.
Data rebuild_parameter(const PickleItems& arguments) {
  return argument<PickleTensor>(arguments, 0, "torch._utils._rebuild_parameter");
}

/// torch._tensor._rebuild_from_type_v2(function, type, arguments, state): a tensor with attributes of its own.
Data rebuild_from_type(const PickleItems& arguments) {
  constexpr const char* kName = "torch._tensor._rebuild_from_type_v2";
  if (argument<PickleGlobal>(arguments, 0, kName).full() == kName) wrong_arguments(kName);  // no call within a call
  Data rebuilt = carry_out(*arguments[0], argument<PickleTuple>(arguments, 2, kName).items);
  if (!std::holds_alternative<PickleTensor>(rebuilt)) wrong_arguments(kName);
  return rebuilt;
}

/// collections.OrderedDict(), or of a list of pairs.
Data ordered_dict(const PickleItems& arguments) {
  constexpr const char* kName = "collections.OrderedDict";
  PickleDict dict;
  if (arguments.empty()) return dict;
  for (const PickleRef pair : argument<PickleList>(arguments, 0, kName).items) {
    const PickleItems* items = nullptr;
    if (const auto* tuple = pair->as<PickleTuple>()) items = &tuple->items;
    if (const auto* list = pair->as<PickleList>()) items = &list->items;
    if (items == nullptr || items->size() != 2) wrong_arguments(kName);
    dict.entries.emplace_back((*items)[0], (*items)[1]);
  }
  return dict;
}

/// torch.Size((…)), set([…]), frozenset([…]): their items.
Data items_of(const PickleItems& arguments) {
  if (arguments.empty()) return PickleList{};
  if (const auto* tuple = arguments[0]->as<PickleTuple>()) return *tuple;
  return argument<PickleList>(arguments, 0, "a set");
}

/// _codecs.encode(text, 'latin1'), or bytes() of nothing: how old protocols write bytes.
Data encoded_bytes(const PickleItems& arguments) {
  if (arguments.empty()) return PickleBytes{};
  return PickleBytes{argument<std::string>(arguments, 0, "_codecs.encode")};
}

/// copyreg._reconstructor(cls, object, None): how old protocols write an object.
Data reconstructed(const PickleItems& arguments) {
  return PickleRecord{.type = argument<PickleGlobal>(arguments, 0, "copyreg._reconstructor")};
}

using Call = Data (*)(const PickleItems&);

const std::map<std::string, Call>& known_calls() {
  static const std::map<std::string, Call> calls = {
      {"torch._utils._rebuild_tensor_v2", rebuild_tensor},
      {"torch._utils._rebuild_tensor", rebuild_tensor},
      {"torch._utils._rebuild_parameter", rebuild_parameter},
      {"torch._utils._rebuild_parameter_with_state", rebuild_parameter},
      {"torch._tensor._rebuild_from_type_v2", rebuild_from_type},
      {"collections.OrderedDict", ordered_dict},
      {"torch.Size", items_of},
      {"builtins.set", items_of},
      {"__builtin__.set", items_of},
      {"builtins.frozenset", items_of},
      {"__builtin__.frozenset", items_of},
      {"_codecs.encode", encoded_bytes},
      {"builtins.bytes", encoded_bytes},
      {"__builtin__.bytes", encoded_bytes},
      {"copyreg._reconstructor", reconstructed},
      {"copy_reg._reconstructor", reconstructed},
  };
  return calls;
}

/// Calls that checkpoints of YOLO trainers have beside their weights: arguments and paths of the run, numbers of NumPy,
/// devices. They stay what they are in the file, a name with arguments.
bool stays_a_record(const std::string& callable) {
  static const std::set<std::string> names = {"torch.device",
                                              "types.SimpleNamespace",
                                              "ultralytics.utils.IterableSimpleNamespace",
                                              "ultralytics.yolo.utils.IterableSimpleNamespace",
                                              "collections.defaultdict",
                                              "collections.deque",
                                              "collections.Counter",
                                              "pathlib.Path",
                                              "pathlib.PosixPath",
                                              "pathlib.WindowsPath",
                                              "pathlib.PurePosixPath",
                                              "pathlib.PureWindowsPath",
                                              "pathlib._local.PosixPath",
                                              "pathlib._local.WindowsPath",
                                              "numpy.dtype",
                                              "numpy.core.multiarray.scalar",
                                              "numpy._core.multiarray.scalar",
                                              "numpy.core.multiarray._reconstruct",
                                              "numpy._core.multiarray._reconstruct",
                                              "datetime.datetime",
                                              "datetime.date"};
  return names.contains(callable);
}

}  // namespace

decltype(PickleValue::data) carry_out(const PickleValue& callable, const PickleItems& arguments) {
  const auto* name = callable.as<PickleGlobal>();
  if (name == nullptr) throw RefusedCall("something that is not a name");
  if (const auto found = known_calls().find(name->full()); found != known_calls().end()) return found->second(arguments);
  if (stays_a_record(name->full())) return PickleRecord{.type = *name, .arguments = arguments};
  throw RefusedCall(name->full());
}

PickleStorage storage_of(const PickleValue& id) {
  constexpr size_t kParts = 5;
  const auto* tuple = id.as<PickleTuple>();
  if (tuple == nullptr || tuple->items.size() < kParts) throw PickleError("damaged: a reference that names no storage");
  const auto& parts = tuple->items;
  const auto* kind = parts[0]->as<std::string>();
  const auto* type = parts[1]->as<PickleGlobal>();
  const auto* key = parts[2]->as<std::string>();
  const auto* count = parts[4]->as<int64_t>();
  if (kind == nullptr || *kind != "storage" || type == nullptr || key == nullptr || count == nullptr || *count < 0)
    throw PickleError("damaged: a reference that names no storage");
  if (type->module != "torch" && type->module != "torch.storage")
    throw PickleError("damaged: " + type->full() + " is no kind of storage");
  return {type->name, *key, *count};
}

}  // namespace tenfold
