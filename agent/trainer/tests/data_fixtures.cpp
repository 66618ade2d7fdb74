#include "data_fixtures.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "sha256.h"

namespace tenfold::testing {

namespace {

using Json = nlohmann::json;

constexpr std::array<Rgb, 6> kObjectColours{
    {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 0}, {255, 0, 255}, {0, 255, 255}}};
constexpr Rgb kBackground{50, 50, 50};

void paint(Image& image, const Label& label) {
  const auto edge = [](float centre, float extent, int side) {
    return static_cast<int>(std::lround((centre + extent) * side));
  };
  const Rgb colour = object_colour(label.cls);
  for (int y = edge(label.cy, -label.h / 2, image.height); y < edge(label.cy, label.h / 2, image.height); ++y)
    for (int x = edge(label.cx, -label.w / 2, image.width); x < edge(label.cx, label.w / 2, image.width); ++x) {
      uint8_t* pixel = image.row(y) + 3 * x;
      pixel[0] = colour.r, pixel[1] = colour.g, pixel[2] = colour.b;
    }
}

Json json_of(const ShardSample& sample, int64_t id, size_t offset) {
  Json labels = Json::array();
  for (const Label& label : sample.labels) labels.push_back({label.cls, label.cx, label.cy, label.w, label.h});
  return {{"id", id},         {"name", sample.name},         {"width", sample.width}, {"height", sample.height},
          {"offset", offset}, {"bytes", sample.file.size()}, {"labels", labels}};
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "tenfold-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::filesystem::path& path, std::span<const uint8_t> content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
  if (!out) throw std::runtime_error("writing " + path.string());
}

void write_file(const std::filesystem::path& path, const std::string& content) {
  write_file(path, std::span(reinterpret_cast<const uint8_t*>(content.data()), content.size()));
}

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("reading " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

Rgb object_colour(int cls) {
  return kObjectColours.at(static_cast<size_t>(cls));
}

bool shows(int cls, Rgb pixel) {
  const Rgb colour = object_colour(cls);
  const auto near = [](uint8_t a, uint8_t b) { return std::abs(a - b) < 90; };
  return near(pixel.r, colour.r) && near(pixel.g, colour.g) && near(pixel.b, colour.b);
}

Image scene(int width, int height, const std::vector<Label>& labels) {
  Image image(width, height, kBackground);
  for (const Label& label : labels) paint(image, label);
  return image;
}

ShardSample scene_sample(const std::string& name, int width, int height, const std::vector<Label>& labels) {
  const Image image = scene(width, height, labels);
  const bool png = std::filesystem::path(name).extension() == ".png";
  return {name, width, height, png ? encode_png(image) : encode_jpeg(image, 95), labels};
}

std::vector<uint8_t> shard_of(const std::vector<ShardSample>& samples, int64_t first_id) {
  Json entries = Json::array();
  std::vector<uint8_t> images;
  for (const ShardSample& sample : samples) {
    entries.push_back(json_of(sample, first_id + static_cast<int64_t>(entries.size()), images.size()));
    images.insert(images.end(), sample.file.begin(), sample.file.end());
  }
  const std::string header = Json{{"samples", entries}}.dump();
  const std::string magic = "TFSHARD1";
  std::vector<uint8_t> shard(magic.begin(), magic.end());
  for (int i = 0; i < 8; ++i) shard.push_back(static_cast<uint8_t>(uint64_t{header.size()} >> (8 * i)));
  shard.insert(shard.end(), header.begin(), header.end());
  shard.insert(shard.end(), images.begin(), images.end());
  return shard;
}

void write_shards(const std::filesystem::path& folder, const std::vector<std::string>& names,
                  const std::vector<ShardSplit>& splits) {
  Json index{{"version", 1}, {"names", names}, {"splits", Json::object()}};
  for (const ShardSplit& split : splits) {
    Json entries = Json::array();
    int64_t count = 0;
    for (const auto& samples : split.shards) {
      const auto shard = shard_of(samples, count);
      count += static_cast<int64_t>(samples.size());
      const std::string digest = sha256_hex(shard);
      write_file(folder / digest, shard);
      entries.push_back({{"digest", digest}, {"bytes", shard.size()}, {"samples", samples.size()}});
    }
    index["splits"][split.name] = {{"samples", count}, {"shards", entries}};
  }
  write_file(folder / "index.json", index.dump(1) + "\n");
}

Dataset scenes_dataset(const std::filesystem::path& folder, int count) {
  constexpr std::array<std::array<int, 2>, 4> kSizes{{{96, 72}, {64, 96}, {80, 80}, {150, 60}}};
  std::vector<ShardSample> samples;
  for (int i = 0; i < count; ++i) {
    const auto [width, height] = kSizes[static_cast<size_t>(i) % kSizes.size()];
    const Label label{i % 6, 0.5f + 0.1f * static_cast<float>(i % 3 - 1), 0.5f, 0.5f, 0.6f};
    samples.push_back(scene_sample("images/train/" + std::to_string(i) + ".png", width, height, {label}));
  }
  write_shards(folder, {"red", "green", "blue", "yellow", "magenta", "cyan"}, {{"train", {samples}}});
  return Dataset::open_shards(folder / "index.json", folder, "train");
}

}  // namespace tenfold::testing
