#include "safetensors.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "file_io.h"

namespace tenfold {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

using OrderedJson = nlohmann::ordered_json;

constexpr uint64_t kMaxHeaderBytes = uint64_t{100} << 20;
constexpr int64_t kMaxElements = int64_t{1} << 48;

constexpr std::array<std::pair<std::string_view, at::ScalarType>, 10> kTypes{{
    {"F64", at::kDouble},
    {"F32", at::kFloat},
    {"F16", at::kHalf},
    {"BF16", at::kBFloat16},
    {"I64", at::kLong},
    {"I32", at::kInt},
    {"I16", at::kShort},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
}};

std::optional<at::ScalarType> type_named(const std::string& name) {
  for (const auto& [text, type] : kTypes) {
    if (text == name) return type;
  }
  return std::nullopt;
}

std::string_view name_of_type(at::ScalarType wanted) {
  for (const auto& [text, type] : kTypes) {
    if (type == wanted) return text;
  }
  throw SafeTensorsError(std::string("tensors of type ") + c10::toString(wanted) + " cannot be stored");
}

struct Entry {
  std::string name;
  at::ScalarType type = at::kFloat;
  std::vector<int64_t> shape;
  uint64_t begin = 0;
  uint64_t end = 0;
};

class Parser {
 public:
  Parser(std::span<const uint8_t> file, const std::string& source) : file_(file), source_(source) {}

  SafeTensors parse() {
    const OrderedJson header = read_header();
    SafeTensors result;
    std::vector<Entry> entries;
    for (const auto& item : header.items()) {
      if (item.key() == "__metadata__") {
        result.metadata = read_metadata(item.value());
      } else {
        entries.push_back(read_entry(item.key(), item.value()));
      }
    }
    check_layout(entries);
    for (const Entry& entry : entries) result.tensors.emplace_back(entry.name, copy_of(entry));
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw SafeTensorsError(source_ + ": " + what); }

  OrderedJson read_header() {
    uint64_t size = 0;
    if (file_.size() < sizeof(size)) fail("too short for a safetensors file");
    std::memcpy(&size, file_.data(), sizeof(size));
    if (size > kMaxHeaderBytes || size > file_.size() - sizeof(size)) fail("its header does not fit in the file");
    const auto* text = reinterpret_cast<const char*>(file_.data() + sizeof(size));
    OrderedJson header = OrderedJson::parse(text, text + size, nullptr, false);
    if (!header.is_object()) fail("its header is not a JSON object");
    data_ = file_.subspan(sizeof(size) + size);
    return header;
  }

  Metadata read_metadata(const OrderedJson& json) const {
    Metadata metadata;
    if (!json.is_object()) fail("__metadata__ is not an object");
    for (const auto& item : json.items()) {
      if (!item.value().is_string()) fail("__metadata__." + item.key() + " is not a text");
      metadata[item.key()] = item.value().get<std::string>();
    }
    return metadata;
  }

  Entry read_entry(const std::string& name, const OrderedJson& json) const {
    const auto unsigned_at = [&](const OrderedJson& value) {
      if (!value.is_number_unsigned()) fail("tensor " + name + ": sizes and offsets must be whole numbers from 0 up");
      return value.get<uint64_t>();
    };
    if (!json.is_object() || !json.contains("dtype") || !json.contains("shape") || !json.contains("data_offsets") ||
        !json["dtype"].is_string() || !json["shape"].is_array() || !json["data_offsets"].is_array() ||
        json["data_offsets"].size() != 2) {
      fail("tensor " + name + ": needs dtype, shape and two data_offsets");
    }
    Entry entry{name, at::kFloat, {}, unsigned_at(json["data_offsets"][0]), unsigned_at(json["data_offsets"][1])};
    const std::optional<at::ScalarType> type = type_named(json["dtype"].get<std::string>());
    if (!type) fail("tensor " + name + ": unknown dtype " + json["dtype"].get<std::string>());
    entry.type = *type;
    int64_t elements = 1;
    for (const OrderedJson& side : json["shape"]) {
      const uint64_t length = unsigned_at(side);
      if (length > static_cast<uint64_t>(kMaxElements)) fail("tensor " + name + ": a side too long");
      entry.shape.push_back(static_cast<int64_t>(length));
      // A zero side makes the tensor empty; dividing by it would not.
      if (length != 0 && elements > kMaxElements / static_cast<int64_t>(length)) fail("tensor " + name + ": too large");
      elements *= static_cast<int64_t>(length);
    }
    const uint64_t bytes = static_cast<uint64_t>(elements) * c10::elementSize(entry.type);
    if (entry.begin > entry.end || entry.end > data_.size()) fail("tensor " + name + ": lies outside the file");
    if (entry.end - entry.begin != bytes) fail("tensor " + name + ": its bytes do not match dtype and shape");
    return entry;
  }

  void check_layout(std::vector<Entry> entries) const {
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
    uint64_t at = 0;
    for (const Entry& entry : entries) {
      if (entry.begin != at) fail("tensor " + entry.name + ": overlaps another or leaves a gap");
      at = entry.end;
    }
    if (at != data_.size()) fail("bytes after the last tensor");
  }

  at::Tensor copy_of(const Entry& entry) const {
    at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.type));
    if (entry.end > entry.begin) std::memcpy(tensor.data_ptr(), data_.data() + entry.begin, entry.end - entry.begin);
    return tensor;
  }

  std::span<const uint8_t> file_;
  std::span<const uint8_t> data_;
  const std::string& source_;
};

std::string header_text(const NamedTensors& tensors, const Metadata& metadata) {
  OrderedJson header = OrderedJson::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    if (header.contains(name)) throw SafeTensorsError("two tensors are called " + name);
    const uint64_t end = at + static_cast<uint64_t>(tensor.nbytes());
    header[name] = OrderedJson{{"dtype", name_of_type(tensor.scalar_type())},
                        {"shape", tensor.sizes().vec()},
                        {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');  // tensors begin at a multiple of 8
  return text;
}

}  // namespace

SafeTensors parse_safetensors(std::span<const uint8_t> file, const std::string& source) {
  return Parser(file, source).parse();
}

SafeTensors read_safetensors(const std::filesystem::path& file) {
  return parse_safetensors(read_file(file), file.string());
}

FileDigest write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                             const Metadata& metadata) {
  const std::string header = header_text(tensors, metadata);
  const uint64_t size = header.size();
  DurableFile file(path);
  file.write(std::span(reinterpret_cast<const uint8_t*>(&size), sizeof(size)));
  file.write(header);
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor flat = tensor.detach().cpu().contiguous();
    file.write(std::span(static_cast<const uint8_t*>(flat.const_data_ptr()), flat.nbytes()));
  }
  return file.commit();
}

}  // namespace tenfold
