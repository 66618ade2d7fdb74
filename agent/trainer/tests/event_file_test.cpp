#include "event_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "crc32c.h"
#include "data_fixtures.h"

namespace tenfold {
namespace {

using testing::TemporaryFolder;

TEST(Crc32c, GivesTheAnswersOfRfc3720) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(""), 0U);
}

template <typename Number>
Number number_at(std::string_view bytes, size_t at = 0) {
  Number number;
  std::memcpy(&number, bytes.substr(at, sizeof(number)).data(), sizeof(number));
  return number;
}

uint32_t unmasked(uint32_t masked) {
  const uint32_t rotated = masked - 0xA282EAD8U;
  return rotated >> 17U | rotated << 15U;
}

/// The messages of a TFRecord file; both sums of each are checked.
std::vector<std::string> records_of(const std::vector<uint8_t>& file) {
  std::string_view rest(reinterpret_cast<const char*>(file.data()), file.size());
  std::vector<std::string> records;
  while (!rest.empty()) {
    const auto length = number_at<uint64_t>(rest);
    EXPECT_EQ(unmasked(number_at<uint32_t>(rest, 8)), crc32c(rest.substr(0, 8)));
    records.emplace_back(rest.substr(12, length));
    EXPECT_EQ(unmasked(number_at<uint32_t>(rest, 12 + length)), crc32c(records.back()));
    rest.remove_prefix(16 + length);
  }
  return records;
}

/// The fields of a protobuf message by number: what a fixed or delimited field holds, or a varint as decimal text.
std::multimap<int, std::string> fields_of(std::string_view message) {
  std::multimap<int, std::string> fields;
  const auto varint = [&message] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(message.front());
      message.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7FU) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (!message.empty()) {
    const uint64_t tag = varint();
    const int field = static_cast<int>(tag >> 3U);
    if ((tag & 7U) == 0) {
      fields.emplace(field, std::to_string(varint()));
      continue;
    }
    const size_t length = (tag & 7U) == 1 ? 8 : (tag & 7U) == 5 ? 4 : varint();
    fields.emplace(field, message.substr(0, length));
    message.remove_prefix(length);
  }
  return fields;
}

std::string only_field(const std::multimap<int, std::string>& fields, int field) {
  EXPECT_EQ(fields.count(field), 1U) << "field " << field;
  return fields.count(field) == 1 ? fields.find(field)->second : "";
}

TEST(EventFile, HoldsTheVersionTheStartAndEveryScalar) {
  const TemporaryFolder folder;
  EventFile events(folder.path(), 3, 1'795'000'000.25);
  const std::vector<Scalar> scalars{{"metrics/mAP50(B)", 0.75}, {"train/box_loss", std::nan("")}};
  events.add(3, 1'795'000'001.5, scalars);
  events.add(4, 1'795'000'002.5, {});
  EXPECT_TRUE(testing::mentions(events.path().filename().string(), "events.out.tfevents.1795000000."));

  const std::vector<std::string> records = records_of(testing::read_file(events.path()));
  ASSERT_EQ(records.size(), 4U);
  const auto version = fields_of(records[0]);
  EXPECT_EQ(only_field(version, 3), "brain.Event:2");
  EXPECT_EQ(number_at<double>(only_field(version, 1)), 1'795'000'000.25);
  const auto start = fields_of(records[1]);
  EXPECT_EQ(only_field(start, 2), "3");
  EXPECT_EQ(only_field(fields_of(only_field(start, 7)), 1), "1") << "SessionLog.START";

  const auto event = fields_of(records[2]);
  EXPECT_EQ(only_field(event, 2), "3");
  const auto summary = fields_of(only_field(event, 5));
  ASSERT_EQ(summary.count(1), 2U);
  const auto first = fields_of(summary.find(1)->second), second = fields_of(std::next(summary.find(1))->second);
  EXPECT_EQ(only_field(first, 1), "metrics/mAP50(B)");
  EXPECT_EQ(number_at<float>(only_field(first, 2)), 0.75F);
  EXPECT_EQ(only_field(second, 1), "train/box_loss");
  EXPECT_TRUE(std::isnan(number_at<float>(only_field(second, 2))));
}

TEST(EventFile, CanBeReadWhileItGrows) {
  const TemporaryFolder folder;
  EventFile events(folder.path(), 1, 0);
  for (int epoch = 1; epoch <= 3; ++epoch) {
    const std::vector<Scalar> scalars{{"lr/pg0", 0.01}};
    events.add(epoch, 0, scalars);
    EXPECT_EQ(records_of(testing::read_file(events.path())).size(), static_cast<size_t>(2 + epoch));
  }
}

TEST(EventFile, SaysWhichFileCannotBeWritten) {
  const TemporaryFolder folder;
  try {
    EventFile(folder / "missing", 1, 0);
    FAIL() << "a file in no folder";
  } catch (const std::system_error& error) {
    EXPECT_TRUE(testing::mentions(error.what(), "missing/events.out.tfevents."));
  }
}

}  // namespace
}  // namespace tenfold
