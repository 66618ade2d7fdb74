#include "protobuf_wire.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace tenfold {
namespace {

std::string hex(const ProtobufWriter& writer) {
  std::string text;
  for (const char c : writer.data()) {
    text += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4U];
    text += "0123456789abcdef"[static_cast<unsigned char>(c) & 15U];
  }
  return text;
}

TEST(ProtobufWire, WritesTheExamplesOfTheEncodingGuide) {
  EXPECT_EQ(hex(ProtobufWriter().varint(1, 150)), "089601");
  EXPECT_EQ(hex(ProtobufWriter().string(2, "testing")), "120774657374696e67");
  EXPECT_EQ(hex(ProtobufWriter().message(3, ProtobufWriter().varint(1, 150))), "1a03089601");
  EXPECT_EQ(hex(ProtobufWriter().packed(6, std::array<int64_t, 3>{3, 270, 86942})), "3206038e029ea705");
}

TEST(ProtobufWire, WritesNumbersOfEveryKindAndSize) {
  EXPECT_EQ(hex(ProtobufWriter().varint(1, false).varint(2, true)), "08001001");
  EXPECT_EQ(hex(ProtobufWriter().varint(1, -2)), "08feffffffffffffffff01");
  EXPECT_EQ(hex(ProtobufWriter().varint(1, std::numeric_limits<uint64_t>::max())), "08ffffffffffffffffff01");
  EXPECT_EQ(hex(ProtobufWriter().varint(1, std::numeric_limits<uint32_t>::max())), "08ffffffff0f");
  EXPECT_EQ(hex(ProtobufWriter().fixed32(1, 1.0F)), "0d0000803f");
  EXPECT_EQ(hex(ProtobufWriter().fixed64(1, 1.0)), "09000000000000f03f");
  EXPECT_EQ(hex(ProtobufWriter().packed(4, std::array<float, 2>{1.0F, -2.0F})), "22080000803f000000c0");
  EXPECT_EQ(hex(ProtobufWriter().varint(16, 1)), "800101") << "a field's number may take more than a byte";
}

TEST(ProtobufWire, WritesEmptyFieldsWhereTheyMeanSomething) {
  EXPECT_EQ(hex(ProtobufWriter().string(1, "")), "0a00");
  EXPECT_EQ(hex(ProtobufWriter().message(1, {})), "0a00") << "a message that is there, with nothing in it";
  EXPECT_EQ(hex(ProtobufWriter().packed(1, std::span<const int64_t>())), "");
}

}  // namespace
}  // namespace tenfold
