// From ATen's operators to ONNX's: a table of small translations. They keep to operators that inference engines have
// (TensorRT's among them), with attributes and shapes known when the file is written.
#include "onnx_operators.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <set>

#include "onnx_translation.h"

namespace tenfold {
namespace {

/// Both values of a kernel size and the like, which may be given as one.
std::vector<int64_t> pair_of(const std::vector<int64_t>& values) {
  return values.size() == 1 ? std::vector<int64_t>{values[0], values[0]} : values;
}

/// ONNX's pads: before and after each spatial dimension.
std::vector<int64_t> pads_of(const std::vector<int64_t>& padding) {
  const auto both = pair_of(padding);
  return {both[0], both[1], both[0], both[1]};
}

// --- Arithmetic --------------------------------------------------------------------------------------------------------

void as_named(Translation& t, const std::string& type) { t.emit(type, {t.name_of(0)}); }

void silu(Translation& t) { t.emit("Mul", {t.name_of(0), t.inner("Sigmoid", {t.name_of(0)})}); }

/// The second operand of an elementwise operator, a tensor or a number.
std::string second_of(Translation& t) {
  const at::ScalarType type = t.result().type;
  if (std::holds_alternative<Operand>(t.argument(1))) return t.name_as(t.operand(1), type);
  return t.scalar(t.number(1), type);
}

void elementwise(Translation& t, const std::string& type) {
  const std::string first = t.name_as(t.operand(0), t.result().type);
  t.emit(type, {first, second_of(t)});
}

/// add and sub have a factor for their second operand.
void sum(Translation& t, const std::string& type) {
  if (t.number(2) != 1) t.fail("with alpha");
  elementwise(t, type);
}

void divide(Translation& t) {
  // ONNX's division of whole numbers drops the remainder; of those from 0 up that is their floor.
  const bool whole = !t.is_none(2);
  if (whole && t.result().type != at::kLong) t.fail("rounds, which is translated for whole numbers alone");
  elementwise(t, "Div");
}

void clamp(Translation& t) {
  const at::ScalarType type = t.result().type;
  const auto bound = [&](size_t i) { return t.is_none(i) ? std::string() : t.scalar(t.number(i), type); };
  t.emit("Clip", {t.name_of(0), bound(1), bound(2)});
}

// --- Layers ------------------------------------------------------------------------------------------------------------

void convolve(Translation& t, const std::vector<int64_t>& dilation, int64_t groups) {
  Names inputs{t.name_of(0), t.name_of(1)};
  if (!t.is_none(2)) inputs.push_back(t.name_of(2));
  const auto weight = t.shape_of(t.operand(1));
  t.emit("Conv", inputs,
         {{"kernel_shape", std::vector<int64_t>{weight.at(2).fixed, weight.at(3).fixed}},
          {"strides", pair_of(t.integers(3))},
          {"pads", pads_of(t.integers(4))},
          {"dilations", pair_of(dilation)},
          {"group", groups}});
}

void conv2d(Translation& t) { convolve(t, t.integers(5), t.integer(6)); }

void convolution(Translation& t) {
  if (t.flag(6)) t.fail("is transposed");
  convolve(t, t.integers(5), t.integer(8));
}

void batch_norm(Translation& t) {
  if (t.flag(5)) t.fail("is in training mode");
  t.emit("BatchNormalization", {t.name_of(0), t.name_of(1), t.name_of(2), t.name_of(3), t.name_of(4)},
         {{"epsilon", t.number(7)}});
}

void pool(Translation& t, const std::string& type, size_t ceil_argument, Attributes extra) {
  const auto kernel = pair_of(t.integers(1));
  const auto given = t.integers(2);
  extra["kernel_shape"] = kernel;
  extra["strides"] = given.empty() ? kernel : pair_of(given);
  extra["pads"] = pads_of(t.integers(3));
  extra["ceil_mode"] = int64_t{t.flag(ceil_argument)};
  t.emit(type, {t.name_of(0)}, std::move(extra));
}

void max_pool(Translation& t) { pool(t, "MaxPool", 5, {{"dilations", pair_of(t.integers(4))}}); }

void avg_pool(Translation& t) { pool(t, "AveragePool", 4, {{"count_include_pad", int64_t{t.flag(5)}}}); }

void upsample_nearest(Translation& t) {
  const auto from = t.shape_of(t.operand(0)), to = t.result().shape;
  std::vector<float> scales{1, 1};
  for (size_t i = 2; i < 4; ++i)
    scales.push_back(static_cast<float>(t.fixed(to.at(i))) / static_cast<float>(t.fixed(from.at(i))));
  t.emit("Resize", {t.name_of(0), "", t.constant(at::tensor(scales), "")},
         {{"mode", "nearest"}, {"coordinate_transformation_mode", "asymmetric"}, {"nearest_mode", "floor"}});
}

void softmax(Translation& t) { t.emit("Softmax", {t.name_of(0)}, {{"axis", t.dimension(1)}}); }

void matmul(Translation& t) {
  const Operand& right = t.operand(1);
  // A vector on the right: not every engine takes it, so it becomes a matrix of one column, which goes again afterwards.
  if (t.shape_of(right).size() != 1 || !right.is_constant()) return t.emit("MatMul", {t.name_of(0), t.name_of(1)});
  const std::string column = t.constant(right.constant.unsqueeze(1), right.label);
  t.emit("Squeeze", {t.inner("MatMul", {t.name_of(0), column}), t.list({-1})});
}

// --- Shapes ------------------------------------------------------------------------------------------------------------

/// view, flatten, unsqueeze and all others that give the same numbers another shape. A side that grows with the number of
/// images is copied from the input (0) where it is at the same place there, else inferred (-1).
void reshape(Translation& t) {
  const auto from = t.shape_of(t.operand(0)), to = t.result().shape;
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < to.size(); ++i) {
    if (!to[i].depends_on_batch())
      sizes.push_back(to[i].fixed);
    else
      sizes.push_back(i < from.size() && from[i] == to[i] ? 0 : -1);
  }
  if (std::count(sizes.begin(), sizes.end(), -1) > 1) t.fail("spreads the number of images over several sides");
  t.emit("Reshape", {t.name_of(0), t.list(sizes)});
}

void permute(Translation& t) {
  auto order = t.integers(1);
  for (int64_t& side : order) side += side < 0 ? static_cast<int64_t>(order.size()) : 0;
  t.emit("Transpose", {t.name_of(0)}, {{"perm", order}});
}

void transpose(Translation& t) {
  std::vector<int64_t> order(t.result().shape.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::swap(order.at(static_cast<size_t>(t.dimension(1))), order.at(static_cast<size_t>(t.dimension(2))));
  t.emit("Transpose", {t.name_of(0)}, {{"perm", order}});
}

void expand(Translation& t) {
  const auto from = t.shape_of(t.operand(0)), to = t.result().shape;
  if (from == to) return t.pass(t.operand(0));
  const size_t added = to.size() - from.size();
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < to.size(); ++i) {
    const bool kept = i >= added && from[i - added] == to[i];
    sizes.push_back(kept ? 1 : t.fixed(to[i]));
  }
  t.emit("Expand", {t.name_of(0), t.list(sizes)});
}

void slice(Translation& t, int64_t dim, int64_t begin, int64_t end, int64_t step) {
  t.emit("Slice", {t.name_of(0), t.list({begin}), t.list({end}), t.list({dim}), t.list({step})});
}

void narrow(Translation& t) {
  const int64_t begin = t.integer(2);
  slice(t, t.dimension(1), begin, begin + t.integer(3), 1);
}

void slice_tensor(Translation& t) {
  constexpr int64_t kToTheEnd = std::numeric_limits<int64_t>::max();
  slice(t, t.dimension(1), t.is_none(2) ? 0 : t.integer(2), t.is_none(3) ? kToTheEnd : t.integer(3),
        t.is_none(4) ? 1 : t.integer(4));
}

void select(Translation& t) {
  t.emit("Gather", {t.name_of(0), t.scalar(static_cast<double>(t.integer(2)), at::kLong)}, {{"axis", t.dimension(1)}});
}

/// split, chunk: the sizes of the parts are those of the results. The dimension is the last argument.
void split(Translation& t) {
  const int64_t dim = t.dimension(2);
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < t.outputs(); ++i) sizes.push_back(t.fixed(t.result(i).shape.at(static_cast<size_t>(dim))));
  t.emit("Split", {t.name_of(0), t.list(sizes)}, {{"axis", dim}});
}

void concat(Translation& t) {
  const auto& parts = t.as<std::vector<Operand>>(0, "a list of tensors");
  const int64_t given = t.integer(1);
  Names names;
  for (const Operand& part : parts) names.push_back(t.name_as(part, t.result().type));
  t.emit("Concat", names, {{"axis", given < 0 ? given + static_cast<int64_t>(t.result().shape.size()) : given}});
}

void stack(Translation& t) {
  const int64_t given = t.integer(1);
  const int64_t dim = given < 0 ? given + static_cast<int64_t>(t.result().shape.size()) : given;
  Names names;
  for (const Operand& part : t.as<std::vector<Operand>>(0, "a list of tensors"))
    names.push_back(t.inner("Unsqueeze", {t.name_as(part, t.result().type), t.list({dim})}));
  t.emit("Concat", names, {{"axis", dim}});
}

/// to, contiguous, clone, detach: the same numbers, perhaps of another type.
void same(Translation& t) {
  const at::ScalarType type = t.result().type;
  if (t.type_of(t.operand(0)) == type) return t.pass(t.operand(0));
  t.emit("Cast", {t.name_of(0)}, {{"to", t.onnx_type(type)}});
}

// --- Choice ------------------------------------------------------------------------------------------------------------

void reduce_max(Translation& t) {
  std::vector<int64_t> dims = t.integers(1);
  t.emit("ReduceMax", {t.name_of(0)}, {{"axes", dims}, {"keepdims", int64_t{t.flag(2)}}});
}

void reduce_mean(Translation& t) {
  t.emit("ReduceMean", {t.name_of(0)}, {{"axes", t.integers(1)}, {"keepdims", int64_t{t.flag(2)}}});
}

void reduce_sum(Translation& t) {
  t.emit("ReduceSum", {t.name_of(0), t.list(t.integers(1))}, {{"keepdims", int64_t{t.flag(2)}}});
}

void topk(Translation& t) {
  t.emit("TopK", {t.name_of(0), t.list({t.integer(1)})},
         {{"axis", t.dimension(2)}, {"largest", int64_t{t.flag(3)}}, {"sorted", int64_t{t.flag(4)}}});
}

void gather(Translation& t) {
  t.emit("GatherElements", {t.name_of(0), t.name_of(2)}, {{"axis", t.dimension(1)}});
}

void index_select(Translation& t) { t.emit("Gather", {t.name_of(0), t.name_of(2)}, {{"axis", t.dimension(1)}}); }

void remainder(Translation& t) {
  if (t.result().type != at::kLong) t.fail("is translated for whole numbers alone");
  elementwise(t, "Mod");
}

using Translate = std::function<void(Translation&)>;

Translate named(const char* type) {
  return [type](Translation& t) { as_named(t, type); };
}

Translate two_sided(const char* type) {
  return [type](Translation& t) { elementwise(t, type); };
}

/// By the operator's name without "aten::" and without the "_" of one that works in place.
const std::map<std::string, Translate>& translations() {
  static const std::map<std::string, Translate> table = {
      {"sigmoid", named("Sigmoid")},
      {"relu", named("Relu")},
      {"tanh", named("Tanh")},
      {"exp", named("Exp")},
      {"sqrt", named("Sqrt")},
      {"neg", named("Neg")},
      {"silu", silu},
      {"leaky_relu", [](Translation& t) { t.emit("LeakyRelu", {t.name_of(0)}, {{"alpha", t.number(1)}}); }},
      {"hardswish", [](Translation& t) { t.emit("HardSwish", {t.name_of(0)}); }},
      {"add", [](Translation& t) { sum(t, "Add"); }},
      {"sub", [](Translation& t) { sum(t, "Sub"); }},
      {"mul", two_sided("Mul")},
      {"div", divide},
      {"floor_divide", [](Translation& t) {
         if (t.result().type != at::kLong) t.fail("is translated for whole numbers alone");
         elementwise(t, "Div");
       }},
      {"pow", two_sided("Pow")},
      {"square", [](Translation& t) { t.emit("Mul", {t.name_of(0), t.name_of(0)}); }},
      {"maximum", two_sided("Max")},
      {"minimum", two_sided("Min")},
      {"remainder", remainder},
      {"clamp", clamp},
      {"conv2d", conv2d},
      {"convolution", convolution},
      {"batch_norm", batch_norm},
      {"max_pool2d", max_pool},
      {"avg_pool2d", avg_pool},
      {"upsample_nearest2d", upsample_nearest},
      {"softmax", softmax},
      {"matmul", matmul},
      {"bmm", matmul},
      {"view", reshape},
      {"view_as", reshape},
      {"reshape", reshape},
      {"reshape_as", reshape},
      {"flatten", reshape},
      {"unflatten", reshape},
      {"unsqueeze", reshape},
      {"squeeze", reshape},
      {"permute", permute},
      {"transpose", transpose},
      {"expand", expand},
      {"expand_as", expand},
      {"narrow", narrow},
      {"slice", slice_tensor},
      {"select", select},
      {"split", split},
      {"split_with_sizes", split},
      {"chunk", split},
      {"cat", concat},
      {"stack", stack},
      {"to", same},
      {"contiguous", same},
      {"clone", same},
      {"detach", same},
      {"alias", same},
      {"amax", reduce_max},
      {"mean", reduce_mean},
      {"sum", reduce_sum},
      {"topk", topk},
      {"gather", gather},
      {"index_select", index_select},
  };
  return table;
}

std::string key_of(const OpNode& node) {
  std::string key = node.op.starts_with("aten::") ? node.op.substr(6) : node.op;
  if (key.ends_with('_')) key.pop_back();
  return key;
}

void collect_values(const OpArgument& argument, std::set<int>& values) {
  if (const auto* operand = std::get_if<Operand>(&argument)) values.insert(operand->value);
  if (const auto* operands = std::get_if<std::vector<Operand>>(&argument))
    for (const Operand& operand : *operands) values.insert(operand.value);
}

/// Which nodes the outputs depend on: a network may compute more than is asked for (v10's second head).
std::vector<bool> needed_nodes(const OpGraph& graph) {
  std::set<int> wanted(graph.outputs.begin(), graph.outputs.end());
  std::vector<bool> needed(graph.nodes.size(), false);
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const OpNode& node = graph.nodes[i];
    needed[i] = std::any_of(node.outputs.begin(), node.outputs.end(), [&](int value) { return wanted.contains(value); });
    if (!needed[i]) continue;
    for (const OpArgument& argument : node.arguments) collect_values(argument, wanted);
  }
  return needed;
}

void rename(const std::string& from, const std::string& to, OnnxModel& model) {
  for (OnnxNode& node : model.nodes) {
    std::replace(node.inputs.begin(), node.inputs.end(), from, to);
    std::replace(node.outputs.begin(), node.outputs.end(), from, to);
  }
}

}  // namespace

void write_operators(const OpGraph& graph, const std::string& input, const std::vector<std::string>& outputs,
                     OnnxModel& model) {
  std::vector<std::string> names;
  for (size_t i = 0; i < graph.values.size(); ++i) names.push_back("value" + std::to_string(i));
  names[static_cast<size_t>(graph.input)] = input;
  std::map<const at::TensorImpl*, std::string> constants;
  const std::vector<bool> needed = needed_nodes(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!needed[i]) continue;
    const OpNode& node = graph.nodes[i];
    Translation translation(graph, node, model, names, constants);
    const auto found = translations().find(key_of(node));
    if (found == translations().end())
      translation.fail("has no counterpart here; use other operators in the block, or add one to onnx_operators.cpp");
    found->second(translation);
  }
  for (size_t i = 0; i < outputs.size(); ++i) rename(names[static_cast<size_t>(graph.outputs.at(i))], outputs[i], model);
}

}  // namespace tenfold
