#include "safetensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>

#include "file_io.h"
#include "data_fixtures.h"

namespace tenfold {
namespace {

using testing::TemporaryFolder;

/// A file made of a header's text and `data` bytes of zeros.
std::vector<uint8_t> file_of(const std::string& header, size_t data) {
  std::vector<uint8_t> file(8 + header.size() + data);
  const uint64_t size = header.size();
  std::memcpy(file.data(), &size, sizeof(size));
  std::memcpy(file.data() + 8, header.data(), header.size());
  return file;
}

std::string refusal(const std::vector<uint8_t>& file) {
  try {
    parse_safetensors(file, "x");
  } catch (const SafeTensorsError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(SafeTensors, ComeBackAsTheyWere) {
  const TemporaryFolder folder;
  const NamedTensors tensors = {{"a.weight", at::randn({3, 2, 1, 1})},
                                {"half", at::randn({5}).to(at::kHalf)},
                                {"brain", at::randn({2, 2}).to(at::kBFloat16)},
                                {"count", at::tensor({int64_t{7}})},
                                {"scalar", at::tensor(3.5)},
                                {"none", at::empty({0, 4})},
                                {"turned", at::arange(6).view({2, 3}).t()}};
  const FileDigest digest = write_safetensors(folder / "t.safetensors", tensors, {{"arch", "yolov8n"}});
  EXPECT_EQ(digest.name, "t.safetensors");
  const std::vector<uint8_t> bytes = read_file(folder / "t.safetensors");
  EXPECT_EQ(digest.bytes, static_cast<int64_t>(bytes.size()));
  EXPECT_EQ(digest.sha256, sha256_hex(bytes));

  const SafeTensors read = read_safetensors(folder / "t.safetensors");
  EXPECT_EQ(read.metadata, (Metadata{{"arch", "yolov8n"}}));
  ASSERT_EQ(read.tensors.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(read.tensors[i].first, tensors[i].first);
    EXPECT_EQ(read.tensors[i].second.scalar_type(), tensors[i].second.scalar_type());
    EXPECT_TRUE(read.tensors[i].second.equal(tensors[i].second)) << tensors[i].first;
  }
}

TEST(SafeTensors, MalformedFilesAreRefused) {
  const auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  EXPECT_EQ(refusal(file_of(tensor("F32", "[2]", "[0,8]"), 8)), "accepted");
  EXPECT_NE(refusal({1, 2, 3}).find("too short"), std::string::npos);
  std::vector<uint8_t> long_header = file_of("{}", 0);
  long_header[7] = 0x7f;
  EXPECT_NE(refusal(long_header).find("header does not fit"), std::string::npos);
  EXPECT_NE(refusal(file_of("[]", 0)).find("not a JSON object"), std::string::npos);
  EXPECT_NE(refusal(file_of("{\"a\":", 0)).find("not a JSON object"), std::string::npos);
  EXPECT_NE(refusal(file_of(R"({"a":{"dtype":"F32"}})", 0)).find("needs dtype"), std::string::npos);
  EXPECT_NE(refusal(file_of(tensor("F8", "[2]", "[0,2]"), 2)).find("unknown dtype"), std::string::npos);
  EXPECT_NE(refusal(file_of(tensor("F32", "[2]", "[0,16]"), 8)).find("outside the file"), std::string::npos);
  EXPECT_NE(refusal(file_of(tensor("F32", "[2]", "[8,0]"), 8)).find("outside the file"), std::string::npos);
  EXPECT_NE(refusal(file_of(tensor("F32", "[3]", "[0,8]"), 8)).find("do not match"), std::string::npos);
  EXPECT_NE(refusal(file_of(tensor("F32", "[-2]", "[0,8]"), 8)).find("whole numbers"), std::string::npos);
  EXPECT_NE(refusal(file_of(tensor("F32", "[1.5]", "[0,8]"), 8)).find("whole numbers"), std::string::npos);
  EXPECT_NE(refusal(file_of(tensor("F32", "[4294967296,4294967296,4294967296]", "[0,0]"), 0)).find("too large"),
            std::string::npos);
  EXPECT_NE(refusal(file_of(tensor("F32", "[2]", "[4,12]"), 12)).find("gap"), std::string::npos);
  EXPECT_NE(refusal(file_of(tensor("F32", "[2]", "[0,8]"), 12)).find("after the last"), std::string::npos);
  const std::string overlap =
      R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})";
  EXPECT_NE(refusal(file_of(overlap, 6)).find("overlaps"), std::string::npos);
  EXPECT_NE(refusal(file_of(R"({"__metadata__":{"a":1}})", 0)).find("not a text"), std::string::npos);
}

TEST(SafeTensors, NoTruncationIsAccepted) {
  const TemporaryFolder folder;
  write_safetensors(folder / "t", {{"a", at::ones({4})}, {"b", at::ones({2})}}, {});
  const std::vector<uint8_t> whole = read_file(folder / "t");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(refusal({whole.begin(), whole.begin() + static_cast<long>(size)}), "accepted") << size << " bytes";
  }
}

}  // namespace
}  // namespace tenfold
