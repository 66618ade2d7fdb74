#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>

#include "data_fixtures.h"
#include "sha256.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::mentions;
using testing::scene_sample;
using testing::ShardSample;
using testing::ShardSplit;
using testing::TemporaryFolder;

const fs::path kFixture = fs::path(TENFOLD_FIXTURES) / "trainer-contract" / "shard";

const std::vector<std::string> kNames{"red", "green", "blue"};

/// The content of the fixture that the TypeScript side reads as well: two train shards, one of val with a background.
std::vector<ShardSplit> fixture_splits() {
  return {
      {"train",
       {{scene_sample("images/train/0001.jpg", 64, 48, {{0, 0.25f, 0.5f, 0.25f, 0.5f}, {2, 0.75f, 0.5f, 0.25f, 0.25f}}),
         scene_sample("images/train/0002.png", 48, 64, {{1, 0.5f, 0.25f, 0.5f, 0.25f}})},
        {scene_sample("images/train/0003.jpg", 80, 80, {{2, 0.5f, 0.5f, 0.75f, 0.75f}})}}},
      {"val",
       {{scene_sample("images/val/0001.jpg", 64, 64, {{1, 0.5f, 0.5f, 0.5f, 0.5f}}),
         scene_sample("images/val/0002.png", 32, 32, {})}}}};
}

std::string opening_failure(const std::function<void()>& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

/// A folder with the fixture's shards, to be damaged.
class Shards : public ::testing::Test {
 protected:
  Shards() { testing::write_shards(folder_.path(), kNames, fixture_splits()); }

  Dataset open(const std::string& split = "train", bool verify = false) const {
    return Dataset::open_shards(folder_ / "index.json", folder_.path(), split, verify);
  }

  Json index() const { return Json::parse(testing::read_file(folder_ / "index.json")); }
  void write_index(const Json& index) const { testing::write_file(folder_ / "index.json", index.dump()); }

  /// Puts a shard with other content in the place of the first one, with its right digest and size.
  void replace_first_shard(const std::vector<uint8_t>& content) const {
    const std::string digest = sha256_hex(content);
    testing::write_file(folder_ / digest, content);
    Json changed = index();
    Json& entry = changed["splits"]["train"]["shards"][0];
    entry["digest"] = digest;
    entry["bytes"] = content.size();
    write_index(changed);
  }

  /// The first shard with its JSON header changed.
  void change_first_header(const std::function<void(Json& samples)>& change) const {
    const auto samples = fixture_splits()[0].shards[0];
    const auto shard = testing::shard_of(samples, 0);
    size_t header_bytes = 0;
    for (size_t i = 0; i < 8; ++i) header_bytes |= size_t{shard[8 + i]} << (8 * i);
    Json header = Json::parse(shard.begin() + 16, shard.begin() + 16 + static_cast<std::ptrdiff_t>(header_bytes));
    change(header["samples"]);
    const std::string text = header.dump();
    std::vector<uint8_t> changed(shard.begin(), shard.begin() + 8);
    for (size_t i = 0; i < 8; ++i) changed.push_back(static_cast<uint8_t>(text.size() >> (8 * i)));
    changed.insert(changed.end(), text.begin(), text.end());
    changed.insert(changed.end(), shard.begin() + 16 + static_cast<std::ptrdiff_t>(header_bytes), shard.end());
    replace_first_shard(changed);
  }

  std::string refusal() const {
    return opening_failure([this] { open(); });
  }

  TemporaryFolder folder_;
};

TEST(ShardFixture, IsReadAsTheContractSays) {
  if (std::getenv("TENFOLD_WRITE_FIXTURES") != nullptr) {
    fs::remove_all(kFixture);
    testing::write_shards(kFixture, kNames, fixture_splits());
  }
  for (const ShardSplit& split : fixture_splits()) {
    const Dataset dataset = Dataset::open_shards(kFixture / "index.json", kFixture, split.name, true);
    EXPECT_EQ(dataset.names(), kNames);
    int64_t id = 0;
    for (const auto& shard : split.shards)
      for (const ShardSample& expected : shard) {
        const Sample sample = dataset.sample(id);
        EXPECT_EQ(sample.id, id++);
        EXPECT_EQ(sample.name, expected.name);
        EXPECT_EQ(sample.width, expected.width);
        EXPECT_EQ(sample.height, expected.height);
        EXPECT_EQ(std::vector(sample.labels.begin(), sample.labels.end()), expected.labels);
        const Image image = decode_image(sample.bytes);
        EXPECT_EQ(image.width, expected.width);
        for (const Label& label : sample.labels) {
          const uint8_t* p = image.row(static_cast<int>(label.cy * static_cast<float>(image.height))) +
                             3 * static_cast<int>(label.cx * static_cast<float>(image.width));
          EXPECT_TRUE(testing::shows(label.cls, {p[0], p[1], p[2]})) << sample.name;
        }
      }
    EXPECT_EQ(dataset.size(), id);
  }
}

TEST_F(Shards, AreReadInOrderAcrossFiles) {
  const Dataset train = open();
  ASSERT_EQ(train.size(), 3);
  EXPECT_EQ(train.sample(2).name, "images/train/0003.jpg");
  EXPECT_EQ(train.labels(0).size(), 2U);
  EXPECT_TRUE(open("val").labels(1).empty());
  EXPECT_THROW(train.sample(3), std::out_of_range);
  EXPECT_THROW(train.sample(-1), std::out_of_range);
}

TEST_F(Shards, AWrongByteIsFoundWhenAsked) {
  const std::string digest = index()["splits"]["train"]["shards"][0]["digest"];
  auto content = testing::read_file(folder_ / digest);
  content.back() ^= 1;
  testing::write_file(folder_ / digest, content);
  EXPECT_NO_THROW(open("train", false));
  EXPECT_TRUE(mentions(opening_failure([this] { open("train", true); }), "does not match its digest"));
}

TEST_F(Shards, AnIndexThatIsWrongIsRefused) {
  const Json sound = index();
  const auto refused = [&](const std::function<void(Json&)>& change, const std::string& reason) {
    Json changed = sound;
    change(changed);
    write_index(changed);
    EXPECT_TRUE(mentions(refusal(), reason)) << reason << " / " << refusal();
  };
  refused([](Json& i) { i["version"] = 2; }, "version 1");
  refused([](Json& i) { i.erase("names"); }, "names");
  refused([](Json& i) { i["names"] = Json::array(); }, "no class");
  refused([](Json& i) { i["splits"].erase("train"); }, "no split \"train\"");
  refused([](Json& i) { i["splits"]["train"]["samples"] = 4; }, "3 samples");
  refused([](Json& i) { i["splits"]["train"]["shards"][0]["samples"] = 1; }, "another number of samples");
  refused([](Json& i) { i["splits"]["train"]["shards"][0]["bytes"] = 10; }, "not the 10 of the index");
  refused([](Json& i) { i["splits"]["train"]["shards"][0]["digest"] = "../../etc/passwd"; }, "not a SHA-256");
  refused([](Json& i) { i["splits"]["train"]["shards"][0]["digest"] = std::string(64, '0'); }, "opening");
  refused([](Json& i) { i = Json::array(); }, "index");
  testing::write_file(folder_ / "index.json", std::string("{"));
  EXPECT_TRUE(mentions(refusal(), "not valid JSON"));
  fs::remove(folder_ / "index.json");
  EXPECT_TRUE(mentions(refusal(), "index.json"));
}

TEST_F(Shards, AHeaderThatIsWrongIsRefused) {
  const auto refused = [&](const std::function<void(Json&)>& change, const std::string& reason) {
    change_first_header(change);
    EXPECT_TRUE(mentions(refusal(), reason)) << reason << " / " << refusal();
  };
  refused([](Json& s) { s[1]["id"] = 7; }, "sample 1: has id 7");
  refused([](Json& s) { s[1]["offset"] = 1'000'000; }, "\"offset\"");
  refused([](Json& s) { s[1]["offset"] = -1; }, "\"offset\"");
  refused([](Json& s) { s[1]["bytes"] = 1'000'000; }, "\"bytes\"");
  refused([](Json& s) { s[1]["bytes"] = UINT64_MAX; }, "\"bytes\"");
  refused([](Json& s) { s[0]["width"] = "64"; }, "\"width\"");
  refused([](Json& s) { s[0]["labels"][0][0] = 3; }, "class 3");
  refused([](Json& s) { s[0]["labels"][0][0] = -1; }, "class -1");
  refused([](Json& s) { s[0]["labels"][0][1] = 1.5; }, "not within 0..1");
  refused([](Json& s) { s[0]["labels"][0] = {0, 0.5, 0.5}; }, "a label is not");
  refused([](Json& s) { s[0].erase("name"); }, "name");
  refused([](Json& s) { s = 5; }, "\"samples\" is not a list");
  refused([](Json& s) { s.erase(1); }, "another number of samples");
}

TEST_F(Shards, ACutShardIsRefusedAtEveryLength) {
  const auto shard = testing::shard_of(fixture_splits()[0].shards[0], 0);
  for (size_t length = 0; length < shard.size(); length += 13) {
    replace_first_shard({shard.begin(), shard.begin() + static_cast<std::ptrdiff_t>(length)});
    EXPECT_NE(refusal(), "") << length;
  }
}

TEST_F(Shards, DamagedShardsNeverCrash) {
  const auto sound = testing::shard_of(fixture_splits()[0].shards[0], 0);
  std::srand(1);
  int refused = 0;
  for (int round = 0; round < 200; ++round) {
    auto shard = sound;
    for (int i = 0; i < 3; ++i)
      shard[static_cast<size_t>(std::rand()) % 500] ^= static_cast<uint8_t>(1 << (std::rand() % 8));
    replace_first_shard(shard);
    refused += refusal() != "";
  }
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace tenfold
