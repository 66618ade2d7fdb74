#include "op_graph.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>

#include <memory>
#include <stdexcept>
#include <unordered_map>

#include "model_spec.h"

namespace tenfold {
namespace {

/// Watches the operators of this thread while it lives.
///
/// A tensor is known by the address of its TensorImpl. A weak reference to each keeps that address from being used again,
/// without keeping the pixels: the maps of a large network would not fit into memory all at once.
class Recorder {
 public:
  Recorder(const at::Tensor& input, const std::vector<std::pair<std::string, at::Tensor>>& labels) {
    for (const auto& [label, tensor] : labels) remember(tensor, -1, label);
    graph_.input = new_value(input);
    remember(input, graph_.input, "");
    current() = this;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&Recorder::on_start, &Recorder::on_end)
                                             .needsInputs(true)
                                             .needsOutputs(true)
                                             .scopes({at::RecordScope::FUNCTION}));
  }
  ~Recorder() {
    at::removeCallback(handle_);
    current() = nullptr;
  }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  OpGraph finish(const std::vector<at::Tensor>& outputs) {
    if (!defect_.empty()) throw ModelError(defect_);
    for (const at::Tensor& tensor : outputs) {
      const Known* known = find(tensor);
      if (known == nullptr || known->value < 0) throw ModelError("an output does not depend on the picture");
      graph_.outputs.push_back(known->value);
    }
    return std::move(graph_);
  }

 private:
  using WeakTensor = c10::weak_intrusive_ptr<at::TensorImpl, c10::UndefinedTensorImpl>;
  struct Known {
    WeakTensor tensor;
    const void* storage;
    int value;  // -1: a constant
    std::string label;
  };

  /// What is kept of a call between its start, when inputs can be read, and its end, when outputs can.
  struct Call : at::ObserverContext {
    std::string op, overload;
    std::vector<OpArgument> arguments;
    const at::TensorImpl* first = nullptr;  // of the tensors among the arguments: what an operator in place changes
    std::string label;                      // of the first argument that has one
    bool depends_on_input = false;
  };

  static Recorder*& current() {
    thread_local Recorder* recorder = nullptr;
    return recorder;
  }

  static std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& function) {
    Recorder* recorder = current();
    if (recorder->depth_++ > 0) return nullptr;
    return recorder->begin(function);
  }

  static void on_end(const at::RecordFunction& function, at::ObserverContext* context) {
    Recorder* recorder = current();
    --recorder->depth_;
    if (auto* call = static_cast<Call*>(context)) recorder->end(*call, function.outputs());
  }

  std::unique_ptr<Call> begin(const at::RecordFunction& function) {
    auto call = std::make_unique<Call>();
    call->op = function.name();
    if (const auto name = function.operator_name()) call->overload = name->overload_name;
    for (const c10::IValue& input : function.inputs()) call->arguments.push_back(argument_of(input, *call));
    return call;
  }

  void end(Call& call, const std::vector<c10::IValue>& outputs) {
    std::vector<at::Tensor> tensors;
    for (const c10::IValue& output : outputs) {
      if (output.isTensor())
        tensors.push_back(output.toTensor());
      else if (output.isTensorList())
        for (const at::Tensor& tensor : output.toTensorVector()) tensors.push_back(tensor);
    }
    if (!call.depends_on_input) {
      for (const at::Tensor& tensor : tensors)
        if (find(tensor) == nullptr) remember(tensor, -1, call.label);
      return;
    }
    OpNode node{std::move(call.op), std::move(call.overload), std::move(call.arguments), {}};
    for (const at::Tensor& tensor : tensors) {
      if (node.op.ends_with('_') && tensor.unsafeGetTensorImpl() == call.first) check_unshared(tensor, node.op);
      node.outputs.push_back(new_value(tensor));
      remember(tensor, node.outputs.back(), "");
    }
    graph_.nodes.push_back(std::move(node));
  }

  OpArgument argument_of(const c10::IValue& value, Call& call) {
    if (value.isTensor()) return operand_of(value.toTensor(), call);
    if (value.isTensorList()) {
      std::vector<Operand> operands;
      for (const at::Tensor& tensor : value.toTensorVector()) operands.push_back(operand_of(tensor, call));
      return operands;
    }
    if (value.isBool()) return value.toBool();
    if (value.isInt()) return Extent{value.toInt(), 0};
    if (value.isDouble()) return value.toDouble();
    if (value.isString()) return value.toStringRef();
    if (value.isIntList()) {
      std::vector<Extent> numbers;
      for (const int64_t number : value.toIntVector()) numbers.push_back({number, 0});
      return numbers;
    }
    return std::monostate();
  }

  Operand operand_of(const at::Tensor& tensor, Call& call) {
    if (!tensor.defined()) return {};
    if (call.first == nullptr) call.first = tensor.unsafeGetTensorImpl();
    const Known* known = find(tensor);
    if (known != nullptr && known->value >= 0) {
      call.depends_on_input = true;
      return {known->value, {}, ""};
    }
    const std::string label = known == nullptr ? "" : known->label;
    if (call.label.empty()) call.label = label;
    return {-1, tensor, label};
  }

  /// An operator in place gives its tensor a new value; a view of the same memory would go on as the old one.
  void check_unshared(const at::Tensor& tensor, const std::string& op) {
    if (!tensor.has_storage()) return;
    const void* storage = tensor.storage().unsafeGetStorageImpl();
    for (const auto& [address, known] : known_) {
      if (known.value < 0 || known.storage != storage || address == tensor.unsafeGetTensorImpl()) continue;
      if (known.tensor.expired()) continue;
      defect_ = op + " changes a tensor in place of which there are views; use the operator that makes a new one";
    }
  }

  int new_value(const at::Tensor& tensor) {
    OpGraph::Value value{{}, tensor.scalar_type()};
    for (const int64_t size : tensor.sizes()) value.shape.push_back({size, 0});
    graph_.values.push_back(std::move(value));
    return static_cast<int>(graph_.values.size()) - 1;
  }

  const Known* find(const at::Tensor& tensor) const {
    const auto found = known_.find(tensor.unsafeGetTensorImpl());
    return found == known_.end() ? nullptr : &found->second;
  }

  void remember(const at::Tensor& tensor, int value, const std::string& label) {
    const void* storage = tensor.has_storage() ? tensor.storage().unsafeGetStorageImpl() : nullptr;
    known_.insert_or_assign(tensor.unsafeGetTensorImpl(),
                            Known{WeakTensor(tensor.getIntrusivePtr()), storage, value, label});
  }

  at::CallbackHandle handle_{};
  int depth_ = 0;
  OpGraph graph_;
  std::unordered_map<const at::TensorImpl*, Known> known_;
  std::string defect_;
};

[[noreturn]] void refuse_batch(const OpNode& node) {
  throw ModelError(node.op + " depends on the number of images in a way that cannot be generalised");
}

Extent generalised(const Extent& one, const Extent& two, const OpNode& node) {
  if (one == two) return one;
  // Without a part that is the same for all there is one reading only: so much for each image.
  if (two.fixed != 2 * one.fixed) refuse_batch(node);
  return {0, one.fixed};
}

template <typename T>
void require_same(const T& one, const T& two, const OpNode& node) {
  if (!(one == two)) refuse_batch(node);
}

void merge(Operand& one, const Operand& two, const OpNode& node) {
  require_same(one.value, two.value, node);
  if (one.is_constant() && one.constant.defined()) require_same(one.constant.sizes(), two.constant.sizes(), node);
}

void merge(Extent& one, const Extent& two, const OpNode& node) { one = generalised(one, two, node); }

template <typename T>
void merge(std::vector<T>& one, const std::vector<T>& two, const OpNode& node) {
  require_same(one.size(), two.size(), node);
  for (size_t i = 0; i < one.size(); ++i) merge(one[i], two[i], node);
}

template <typename T>
void merge(T& one, const T& two, const OpNode& node) {
  require_same(one, two, node);
}

void merge(OpArgument& one, const OpArgument& two, const OpNode& node) {
  require_same(one.index(), two.index(), node);
  std::visit([&](auto& value) { merge(value, std::get<std::decay_t<decltype(value)>>(two), node); }, one);
}

}  // namespace

OpGraph record_operators(const TensorProgram& program, const at::Tensor& input,
                         const std::vector<std::pair<std::string, at::Tensor>>& labels) {
  const at::NoGradGuard no_grad;
  Recorder recorder(input, labels);
  return recorder.finish(program(input));
}

OpGraph generalise_batch(const OpGraph& one_image, const OpGraph& two_images) {
  OpGraph merged = one_image;
  if (one_image.nodes.size() != two_images.nodes.size() || one_image.values.size() != two_images.values.size() ||
      one_image.outputs != two_images.outputs)
    throw ModelError("the network runs other operators for two images than for one");
  for (size_t i = 0; i < merged.nodes.size(); ++i) {
    OpNode& node = merged.nodes[i];
    const OpNode& other = two_images.nodes[i];
    if (node.op != other.op || node.overload != other.overload) refuse_batch(node);
    require_same(node.outputs, other.outputs, node);
    require_same(node.arguments.size(), other.arguments.size(), node);
    for (size_t a = 0; a < node.arguments.size(); ++a) merge(node.arguments[a], other.arguments[a], node);
    for (const int output : node.outputs) {
      const auto index = static_cast<size_t>(output);
      merge(merged.values[index].shape, two_images.values[index].shape, node);
    }
  }
  const OpNode input{"the input", "", {}, {}};
  const auto index = static_cast<size_t>(merged.input);
  merge(merged.values[index].shape, two_images.values[index].shape, input);
  return merged;
}

}  // namespace tenfold
