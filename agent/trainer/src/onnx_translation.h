// One ATen operator on its way to ONNX.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "model_spec.h"
#include "onnx_model.h"
#include "op_graph.h"

namespace tenfold {

using Names = std::vector<std::string>;
using Attributes = std::map<std::string, OnnxNode::Attribute>;

/// One operator being translated: typed access to its arguments, and the writing of nodes.
class Translation {
 public:
  Translation(const OpGraph& graph, const OpNode& node, OnnxModel& model, std::vector<std::string>& names,
              std::map<const at::TensorImpl*, std::string>& constants)
      : graph_(graph), node_(node), model_(model), names_(names), constants_(constants) {}

  [[noreturn]] void fail(const std::string& problem) const {
    const std::string overload = node_.overload.empty() ? "" : "." + node_.overload;
    throw ModelError("ONNX: " + node_.op + overload + " " + problem);
  }

  // --- Arguments, by their place in the operator's schema ---
  const OpArgument& argument(size_t i) const {
    if (i >= node_.arguments.size()) fail("has fewer arguments than expected");
    return node_.arguments[i];
  }
  bool is_none(size_t i) const {
    if (i >= node_.arguments.size()) return true;
    const auto* operand = std::get_if<Operand>(&node_.arguments[i]);
    if (operand != nullptr) return operand->is_constant() && !operand->constant.defined();
    return std::holds_alternative<std::monostate>(node_.arguments[i]);
  }
  template <typename T>
  const T& as(size_t i, const char* wanted) const {
    if (const T* value = std::get_if<T>(&argument(i))) return *value;
    fail("argument " + std::to_string(i) + " is not " + wanted);
  }
  const Operand& operand(size_t i) const { return as<Operand>(i, "a tensor"); }
  int64_t integer(size_t i) const { return fixed(as<Extent>(i, "a whole number")); }
  bool flag(size_t i) const { return as<bool>(i, "true or false"); }
  std::vector<int64_t> integers(size_t i) const {
    std::vector<int64_t> numbers;
    for (const Extent& extent : as<std::vector<Extent>>(i, "a list of whole numbers")) numbers.push_back(fixed(extent));
    return numbers;
  }
  double number(size_t i) const {
    if (const auto* value = std::get_if<Extent>(&argument(i))) return static_cast<double>(fixed(*value));
    if (const auto* value = std::get_if<bool>(&argument(i))) return *value ? 1 : 0;
    return as<double>(i, "a number");
  }
  /// A dimension, counted from the front. `extra`: dimensions that the result has more.
  int64_t dimension(size_t i, int64_t extra = 0) const {
    const int64_t given = integer(i);
    return given < 0 ? given + static_cast<int64_t>(shape_of(operand(0)).size()) + extra : given;
  }

  int64_t fixed(const Extent& extent) const {
    if (extent.depends_on_batch()) fail("has an argument that depends on the number of images");
    return extent.fixed;
  }
  std::vector<Extent> shape_of(const Operand& operand) const {
    if (!operand.is_constant()) return graph_.values[static_cast<size_t>(operand.value)].shape;
    std::vector<Extent> shape;
    for (const int64_t size : operand.constant.sizes()) shape.push_back({size, 0});
    return shape;
  }
  const OpGraph::Value& result(size_t i = 0) const {
    return graph_.values[static_cast<size_t>(node_.outputs.at(i))];
  }
  at::ScalarType type_of(const Operand& operand) const {
    return operand.is_constant() ? operand.constant.scalar_type()
                                 : graph_.values[static_cast<size_t>(operand.value)].type;
  }

  // --- Names ---
  std::string name_of(const Operand& operand) {
    if (!operand.is_constant()) return names_[static_cast<size_t>(operand.value)];
    return constant(operand.constant, operand.label);
  }
  std::string name_of(size_t i) { return name_of(operand(i)); }
  /// The tensor beside one of `type`: ONNX, unlike ATen, does not bring two types together.
  std::string name_as(const Operand& operand, at::ScalarType type) {
    if (operand.is_constant() && operand.constant.scalar_type() != type)
      return constant(operand.constant.to(type), operand.label);
    return type_of(operand) == type ? name_of(operand) : cast(name_of(operand), type);
  }
  std::string constant(const at::Tensor& tensor, const std::string& label) {
    if (const auto found = constants_.find(tensor.unsafeGetTensorImpl()); found != constants_.end())
      return found->second;
    const std::string name = unused_name(label.empty() ? "constant" : label);
    model_.initializers.emplace_back(name, tensor);
    constants_.emplace(tensor.unsafeGetTensorImpl(), name);
    return name;
  }
  std::string scalar(double value, at::ScalarType type) {
    return constant(at::full({}, value, at::TensorOptions().dtype(type)), "");
  }
  std::string list(const std::vector<int64_t>& values) { return constant(at::tensor(values, at::kLong), ""); }

  // --- Nodes ---
  void emit(const std::string& type, Names inputs, Attributes attributes = {}) {
    emit_to(output_names(), type, std::move(inputs), std::move(attributes));
  }
  /// A node on the way to the result.
  std::string inner(const std::string& type, Names inputs, Attributes attributes = {}) {
    const std::string name = output_names().front() + "." + std::to_string(inner_++);
    emit_to({name}, type, std::move(inputs), std::move(attributes));
    return name;
  }
  /// The result is argument `operand` itself.
  void pass(const Operand& operand) {
    const std::string name = name_of(operand);
    names_[static_cast<size_t>(node_.outputs.front())] = name;
  }
  std::string cast(const std::string& name, at::ScalarType type) {
    return inner("Cast", {name}, {{"to", onnx_type(type)}});
  }
  int64_t onnx_type(at::ScalarType type) const {
    if (type == at::kFloat) return 1;
    if (type == at::kLong) return 7;
    if (type == at::kBool) return 9;
    fail(std::string("makes a tensor of type ") + c10::toString(type));
  }
  size_t outputs() const { return node_.outputs.size(); }

 private:
  Names output_names() const {
    Names all;
    for (const int output : node_.outputs) all.push_back(names_[static_cast<size_t>(output)]);
    return all;
  }
  void emit_to(Names outputs, const std::string& type, Names inputs, Attributes attributes) {
    model_.nodes.push_back({type, std::move(inputs), std::move(outputs), std::move(attributes)});
  }
  std::string unused_name(const std::string& wanted) const {
    const auto taken = [&](const std::string& name) {
      return std::any_of(model_.initializers.begin(), model_.initializers.end(),
                         [&](const auto& item) { return item.first == name; });
    };
    if (wanted != "constant" && !taken(wanted)) return wanted;
    return wanted + "." + std::to_string(model_.initializers.size());
  }

  const OpGraph& graph_;
  const OpNode& node_;
  OnnxModel& model_;
  std::vector<std::string>& names_;
  std::map<const at::TensorImpl*, std::string>& constants_;
  int inner_ = 0;
};

}  // namespace tenfold
