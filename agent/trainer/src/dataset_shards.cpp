// Shards, as the coordinator makes them: format in test/fixtures/trainer-contract/README.md.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <system_error>

#include "dataset_storage.h"
#include "sha256.h"

namespace tenfold {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kMagic = "TFSHARD1";
constexpr size_t kPrefixBytes = 16;  // magic and header length

std::unique_ptr<MappedFile> map(const std::filesystem::path& path) {
  try {
    return std::make_unique<MappedFile>(path);
  } catch (const std::system_error& error) {
    throw DataError(error.what());
  }
}

Json parse(std::span<const uint8_t> text, const std::string& where) {
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const Json::exception& error) {
    throw DataError(where + ": not valid JSON: " + error.what());
  }
}

uint64_t little_endian_u64(const uint8_t* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | bytes[i];
  return value;
}

/// A shard's header and the bytes behind it.
struct Shard {
  Json header;
  std::span<const uint8_t> images;
};

Shard split_shard(std::span<const uint8_t> bytes, const std::string& where) {
  if (bytes.size() < kPrefixBytes || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    throw DataError(where + ": not a shard (it does not begin with " + std::string(kMagic) + ")");
  const uint64_t header_bytes = little_endian_u64(bytes.data() + kMagic.size());
  if (header_bytes > bytes.size() - kPrefixBytes)
    throw DataError(where + ": truncated: the header is said to have " + std::to_string(header_bytes) + " bytes");
  const auto header = bytes.subspan(kPrefixBytes, static_cast<size_t>(header_bytes));
  return {parse(header, where), bytes.subspan(kPrefixBytes + header.size())};
}

const Json& list_at(const Json& object, const char* key) {
  const Json& list = object.at(key);
  if (!list.is_array()) throw DataError(std::string("\"") + key + "\" is not a list");
  return list;
}

/// A JSON integer within 0..limit. Throws DataError.
uint64_t whole_number(const Json& object, const char* key, uint64_t limit) {
  const Json& value = object.at(key);
  if (!value.is_number_unsigned() || value.get<uint64_t>() > limit)
    throw DataError(std::string("\"") + key + "\" is not a whole number within 0.." + std::to_string(limit));
  return value.get<uint64_t>();
}

std::vector<Label> read_labels(const Json& list, size_t class_count) {
  std::vector<Label> labels;
  for (const Json& row : list) {
    if (!row.is_array() || row.size() != 5 || !row[0].is_number_integer())
      throw DataError("a label is not [class, cx, cy, w, h]");
    const Label label{row[0].get<int>(), row[1].get<float>(), row[2].get<float>(), row[3].get<float>(),
                      row[4].get<float>()};
    if (const std::string defect = label_defect(label, class_count); !defect.empty()) throw DataError(defect);
    labels.push_back(label);
  }
  return labels;
}

constexpr uint64_t kMaxSide = 1'000'000;

void add_sample(const Json& entry, std::span<const uint8_t> images, Dataset::Storage& storage) {
  const uint64_t id = whole_number(entry, "id", UINT32_MAX);
  if (id != storage.samples.size())
    throw DataError("has id " + std::to_string(id) + " where " + std::to_string(storage.samples.size()) + " is due");
  SampleRecord record;
  record.name = entry.at("name").get<std::string>();
  record.width = static_cast<int>(whole_number(entry, "width", kMaxSide));
  record.height = static_cast<int>(whole_number(entry, "height", kMaxSide));
  const uint64_t offset = whole_number(entry, "offset", images.size());
  const uint64_t bytes = whole_number(entry, "bytes", images.size() - offset);
  record.bytes = images.subspan(static_cast<size_t>(offset), static_cast<size_t>(bytes));
  storage.add(std::move(record), read_labels(list_at(entry, "labels"), storage.names.size()));
}

/// Runs `step`; whatever is wrong in it is reported as a DataError that begins with `where`.
template <typename Step>
void reporting(const std::string& where, Step step) {
  try {
    step();
  } catch (const Json::exception& error) {
    throw DataError(where + ": " + error.what());
  } catch (const DataError& error) {
    throw DataError(where + ": " + error.what());
  }
}

bool is_digest(const std::string& text) {
  return text.size() == 64 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

void add_shard(const Json& entry, const std::filesystem::path& dir, bool verify, Dataset::Storage& storage) {
  const auto digest = entry.at("digest").get<std::string>();
  if (!is_digest(digest)) throw DataError("\"" + digest + "\" is not a SHA-256 in hex");
  const std::filesystem::path path = dir / digest;
  storage.shards.push_back(map(path));
  const auto bytes = storage.shards.back()->bytes();
  if (bytes.size() != whole_number(entry, "bytes", INT64_MAX))
    throw DataError(path.string() + ": has " + std::to_string(bytes.size()) + " bytes, not the " +
                    entry["bytes"].dump() + " of the index");
  if (verify && sha256_hex(bytes) != digest) throw DataError(path.string() + ": content does not match its digest");

  const size_t before = storage.samples.size();
  reporting(path.string(), [&] {
    const Shard shard = split_shard(bytes, "header");
    for (const Json& sample : list_at(shard.header, "samples"))
      reporting("sample " + std::to_string(storage.samples.size()), [&] { add_sample(sample, shard.images, storage); });
    if (storage.samples.size() - before != whole_number(entry, "samples", UINT32_MAX))
      throw DataError("has another number of samples than the index says");
  });
}

void read_index(const Json& index, const std::filesystem::path& dir, const std::string& split, bool verify,
                Dataset::Storage& storage) {
  if (whole_number(index, "version", UINT32_MAX) != 1) throw DataError("only version 1 is understood");
  storage.names = index.at("names").get<std::vector<std::string>>();
  if (storage.names.empty()) throw DataError("names no class");
  if (!index.at("splits").contains(split)) throw DataError("has no split \"" + split + "\"");
  const Json& entry = index["splits"][split];
  for (const Json& shard : list_at(entry, "shards")) add_shard(shard, dir, verify, storage);
  if (storage.samples.size() != whole_number(entry, "samples", UINT32_MAX))
    throw DataError("split \"" + split + "\" has " + std::to_string(storage.samples.size()) + " samples, not the " +
                    entry["samples"].dump() + " it declares");
}

}  // namespace

Dataset Dataset::open_shards(const std::filesystem::path& index, const std::filesystem::path& dir,
                             const std::string& split, bool verify) {
  auto storage = std::make_shared<Storage>();
  reporting("data index " + index.string(), [&] {
    const auto text = map(index);
    read_index(parse(text->bytes(), "index"), dir, split, verify, *storage);
  });
  return Dataset(std::move(storage));
}

}  // namespace tenfold
