// The protobuf wire format, written: https://protobuf.dev/programming-guides/encoding/. For the few messages that we
// write (TensorBoard's events, ONNX models) this is all of protobuf that is needed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace tenfold {

/// One message in the making: its fields in the order in which they are added. A message within a message is a writer
/// of its own, added when it is complete:
///
///     ProtobufWriter value;
///     value.string(1, "metrics/mAP50(B)").fixed32(2, 0.87F);
///     summary.message(1, value);
class ProtobufWriter {
 public:
  /// int32, int64, uint32, uint64, bool and enum fields; a negative number takes ten bytes, as protobuf has it.
  template <typename Integer>
    requires(std::is_integral_v<Integer> || std::is_enum_v<Integer>)
  ProtobufWriter& varint(int field, Integer value) {
    return raw_varint_field(field, static_cast<uint64_t>(static_cast<int64_t>(value)));
  }
  ProtobufWriter& fixed32(int field, float value);   // float fields
  ProtobufWriter& fixed64(int field, double value);  // double fields
  ProtobufWriter& string(int field, std::string_view value);
  ProtobufWriter& bytes(int field, std::span<const uint8_t> value);
  ProtobufWriter& message(int field, const ProtobufWriter& value);
  /// A packed repeated field of integers; nothing where there are none.
  ProtobufWriter& packed(int field, std::span<const int64_t> values);
  ProtobufWriter& packed(int field, std::span<const float> values);

  /// What was written so far: the message's bytes.
  const std::string& data() const { return data_; }

 private:
  ProtobufWriter& raw_varint_field(int field, uint64_t value);

  std::string data_;
};

}  // namespace tenfold
