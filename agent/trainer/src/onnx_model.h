// An ONNX model as data, and its file.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace tenfold {

struct OnnxNode {
  using Attribute = std::variant<int64_t, double, std::string, std::vector<int64_t>>;  ///< a double becomes a float
  std::string type;  ///< "Conv"
  std::vector<std::string> inputs, outputs;
  std::map<std::string, Attribute> attributes;
};

/// An input or output of the model. A side without a size has a name instead: "batch".
struct OnnxValue {
  std::string name;
  at::ScalarType type = at::kFloat;
  std::vector<std::variant<int64_t, std::string>> shape;
};

struct OnnxModel {
  std::string name;
  int64_t opset = 17;
  std::vector<OnnxNode> nodes;  ///< each after those whose outputs it takes
  std::vector<std::pair<std::string, at::Tensor>> initializers;
  std::vector<OnnxValue> inputs, outputs;
  std::map<std::string, std::string> metadata;
};

/// The model as a file's bytes: protobuf, by onnx.proto3 of the ONNX project (IR version 8). Throws ModelError for tensors
/// of a type that is not float, int64 or bool.
std::string serialize(const OnnxModel& model);

}  // namespace tenfold
