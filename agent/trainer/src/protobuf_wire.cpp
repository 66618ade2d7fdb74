#include "protobuf_wire.h"

#include <bit>

namespace tenfold {
namespace {

enum class WireType : uint32_t { varint = 0, fixed64 = 1, length_delimited = 2, fixed32 = 5 };

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7U) out.push_back(static_cast<char>(value | 0x80U));
  out.push_back(static_cast<char>(value));
}

void put_tag(std::string& out, int field, WireType type) {
  put_varint(out, static_cast<uint64_t>(field) << 3U | static_cast<uint64_t>(type));
}

/// Least significant byte first, whatever the machine's own order.
template <typename Bits>
void put_little_endian(std::string& out, Bits bits) {
  for (size_t i = 0; i < sizeof(Bits); ++i) out.push_back(static_cast<char>(bits >> (8 * i) & 0xFFU));
}

}  // namespace

ProtobufWriter& ProtobufWriter::raw_varint_field(int field, uint64_t value) {
  put_tag(data_, field, WireType::varint);
  put_varint(data_, value);
  return *this;
}

ProtobufWriter& ProtobufWriter::fixed32(int field, float value) {
  put_tag(data_, field, WireType::fixed32);
  put_little_endian(data_, std::bit_cast<uint32_t>(value));
  return *this;
}

ProtobufWriter& ProtobufWriter::fixed64(int field, double value) {
  put_tag(data_, field, WireType::fixed64);
  put_little_endian(data_, std::bit_cast<uint64_t>(value));
  return *this;
}

ProtobufWriter& ProtobufWriter::string(int field, std::string_view value) {
  put_tag(data_, field, WireType::length_delimited);
  put_varint(data_, value.size());
  data_.append(value);
  return *this;
}

ProtobufWriter& ProtobufWriter::bytes(int field, std::span<const uint8_t> value) {
  return string(field, {reinterpret_cast<const char*>(value.data()), value.size()});
}

ProtobufWriter& ProtobufWriter::message(int field, const ProtobufWriter& value) { return string(field, value.data()); }

ProtobufWriter& ProtobufWriter::packed(int field, std::span<const int64_t> values) {
  if (values.empty()) return *this;
  std::string numbers;
  for (const int64_t value : values) put_varint(numbers, static_cast<uint64_t>(value));
  return string(field, numbers);
}

ProtobufWriter& ProtobufWriter::packed(int field, std::span<const float> values) {
  if (values.empty()) return *this;
  std::string numbers;
  for (const float value : values) put_little_endian(numbers, std::bit_cast<uint32_t>(value));
  return string(field, numbers);
}

}  // namespace tenfold
