// What a network computes, as the list of ATen operators that ran.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace tenfold {

/// A size or another whole number that may depend on the number of images: fixed + per_image * images.
struct Extent {
  int64_t fixed = 0;
  int64_t per_image = 0;
  bool depends_on_batch() const { return per_image != 0; }
  bool operator==(const Extent&) const = default;
};

/// A tensor that depends on the input (`value` >= 0, its number), or one that does not, in full.
struct Operand {
  int value = -1;
  at::Tensor constant;
  std::string label;  ///< of constants: the parameter they come from, where one is known
  bool is_constant() const { return value < 0; }
};

/// An argument of an operator, in the order of its schema.
using OpArgument =
    std::variant<std::monostate, Operand, std::vector<Operand>, Extent, std::vector<Extent>, bool, double, std::string>;

struct OpNode {
  std::string op;        ///< "aten::conv2d"
  std::string overload;  ///< "Tensor"; mostly empty
  std::vector<OpArgument> arguments;
  std::vector<int> outputs;  ///< numbers of the values it makes
};

struct OpGraph {
  struct Value {
    std::vector<Extent> shape;
    at::ScalarType type = at::kFloat;
  };
  std::vector<Value> values;
  std::vector<OpNode> nodes;  ///< in the order they ran
  int input = 0;
  std::vector<int> outputs;
};

/// A function of one tensor whose operators are to be recorded. It must run the same operators whatever the values are.
using TensorProgram = std::function<std::vector<at::Tensor>(const at::Tensor&)>;

/// Runs `program` on `input` and records the operators that it calls directly (not those that they call) and that depend
/// on the input; all others are done once and for all, and show as constants. It watches ATen's dispatcher, so every block
/// that computes with tensors is understood, a user's own and one that is yet to be written included.
/// `labels` names tensors that the program may use, for Operand::label.
/// Throws ModelError where an operator changes in place what another value shares.
OpGraph record_operators(const TensorProgram& program, const at::Tensor& input,
                         const std::vector<std::pair<std::string, at::Tensor>>& labels);

/// Two recordings of the same program with one and with two images, made into one whose extents say how they depend on
/// the number of images. Throws ModelError where they differ in more than that.
OpGraph generalise_batch(const OpGraph& one_image, const OpGraph& two_images);

}  // namespace tenfold
