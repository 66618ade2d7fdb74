#include "onnx_model.h"

#include <span>

#include "model_spec.h"
#include "protobuf_wire.h"

namespace tenfold {
namespace {

constexpr int64_t kIrVersion = 8;

// Enumerations of onnx.proto.
enum OnnxAttributeType : int { kFloatAttribute = 1, kIntAttribute = 2, kStringAttribute = 3, kIntsAttribute = 7 };
enum OnnxElementType : int { kFloatElement = 1, kInt64Element = 7, kBoolElement = 9 };

OnnxElementType element_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return kFloatElement;
    case at::kLong:
      return kInt64Element;
    case at::kBool:
      return kBoolElement;
    default:
      throw ModelError(std::string("ONNX: a tensor of type ") + c10::toString(type));
  }
}

ProtobufWriter attribute_message(const std::string& name, const OnnxNode::Attribute& attribute) {
  ProtobufWriter message;
  message.string(1, name);
  if (const auto* whole = std::get_if<int64_t>(&attribute))
    message.varint(3, *whole).varint(20, kIntAttribute);
  else if (const auto* number = std::get_if<double>(&attribute))
    message.fixed32(2, static_cast<float>(*number)).varint(20, kFloatAttribute);
  else if (const auto* text = std::get_if<std::string>(&attribute))
    message.string(4, *text).varint(20, kStringAttribute);
  else
    message.packed(8, std::get<std::vector<int64_t>>(attribute)).varint(20, kIntsAttribute);
  return message;
}

ProtobufWriter node_message(const OnnxNode& node) {
  ProtobufWriter message;
  for (const std::string& input : node.inputs) message.string(1, input);
  for (const std::string& output : node.outputs) message.string(2, output);
  message.string(3, node.type + "/" + node.outputs.front()).string(4, node.type);
  for (const auto& [name, attribute] : node.attributes) message.message(5, attribute_message(name, attribute));
  return message;
}

ProtobufWriter tensor_message(const std::string& name, const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().cpu().contiguous();
  ProtobufWriter message;
  message.packed(1, flat.sizes()).varint(2, element_type(flat.scalar_type())).string(8, name);
  message.bytes(9, std::span(static_cast<const uint8_t*>(flat.const_data_ptr()), flat.nbytes()));  // little-endian
  return message;
}

ProtobufWriter value_message(const OnnxValue& value) {
  ProtobufWriter shape;
  for (const auto& side : value.shape) {
    ProtobufWriter dimension;
    if (const auto* size = std::get_if<int64_t>(&side))
      dimension.varint(1, *size);
    else
      dimension.string(2, std::get<std::string>(side));
    shape.message(1, dimension);
  }
  ProtobufWriter tensor, type, message;
  tensor.varint(1, element_type(value.type)).message(2, shape);
  type.message(1, tensor);
  return message.string(1, value.name).message(2, type);
}

ProtobufWriter graph_message(const OnnxModel& model) {
  ProtobufWriter message;
  for (const OnnxNode& node : model.nodes) message.message(1, node_message(node));
  message.string(2, model.name);
  for (const auto& [name, tensor] : model.initializers) message.message(5, tensor_message(name, tensor));
  for (const OnnxValue& input : model.inputs) message.message(11, value_message(input));
  for (const OnnxValue& output : model.outputs) message.message(12, value_message(output));
  return message;
}

}  // namespace

std::string serialize(const OnnxModel& model) {
  ProtobufWriter opset, message;
  opset.string(1, "").varint(2, model.opset);
  message.varint(1, kIrVersion).string(2, "tenfold-trainer").string(3, TENFOLD_VERSION);
  message.message(7, graph_message(model)).message(8, opset);
  for (const auto& [key, value] : model.metadata) {
    ProtobufWriter entry;
    entry.string(1, key).string(2, value);
    message.message(14, entry);
  }
  return message.data();
}

}  // namespace tenfold
