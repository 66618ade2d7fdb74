#include "torch_checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "zip_archive.h"

namespace tenfold {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxPickleBytes = uint64_t{64} << 20U;
/// Tensors of a checkpoint are views of distinct parts of its storages, or nearly so; copies of one part over and over
/// would make a small file fill the memory.
constexpr int64_t kMostUseOfAStorage = 4;
constexpr int64_t kAlwaysAllowed = int64_t{64} << 20U;  // bytes
constexpr int64_t kMaxTensorSide = int64_t{1} << 31U;

std::optional<at::ScalarType> type_of_storage(const std::string& name) {
  static const std::map<std::string, at::ScalarType> types = {
      {"FloatStorage", at::kFloat},       {"HalfStorage", at::kHalf}, {"BFloat16Storage", at::kBFloat16},
      {"DoubleStorage", at::kDouble},     {"LongStorage", at::kLong}, {"IntStorage", at::kInt},
      {"ShortStorage", at::kShort},       {"CharStorage", at::kChar}, {"ByteStorage", at::kByte},
      {"BoolStorage", at::kBool}};
  const auto found = types.find(name);
  return found == types.end() ? std::nullopt : std::optional(found->second);
}

/// The folder that data.pkl is in: torch.save names it after the file.
std::string prefix_of(const ZipArchive& archive) {
  constexpr std::string_view kPickle = "/data.pkl";
  std::optional<std::string> prefix;
  for (const std::string& name : archive.names()) {
    if (!name.ends_with(kPickle) || name.find('/') != name.size() - kPickle.size()) continue;
    if (prefix) throw CheckpointError("it has two pickles, " + *prefix + std::string(kPickle) + " and " + name);
    prefix = name.substr(0, name.size() - kPickle.size());
  }
  if (!prefix) throw CheckpointError("it is a zip archive, but not one of torch.save: it has no data.pkl");
  return *prefix + "/";
}

std::vector<uint8_t> read_entry(const ZipArchive& archive, const std::string& name, uint64_t limit) {
  const uint64_t size = archive.size_of(name);
  if (size > limit) throw CheckpointError("its " + name + " has " + std::to_string(size) + " bytes, more than any checkpoint's");
  std::vector<uint8_t> bytes(size);
  archive.read(name, bytes.data());
  return bytes;
}

void refuse_foreign_archives(const ZipArchive& archive, const std::string& prefix) {
  if (archive.has(prefix + "constants.pkl"))
    throw CheckpointError(
        "it is a TorchScript program (torch.jit.save), not a checkpoint; import the .pt that it was exported from");
  constexpr uint64_t kMaxWord = 16;
  if (!archive.has(prefix + "byteorder")) return;
  const std::vector<uint8_t> order = read_entry(archive, prefix + "byteorder", kMaxWord);
  if (std::string(order.begin(), order.end()) != "little") throw CheckpointError("its numbers are big-endian");
}

[[noreturn]] void refuse_without_zip(const fs::path& file) {
  if (fs::is_empty(file)) throw CheckpointError("it is empty");
  throw CheckpointError(
      "it is not in torch.save's zip format: either no checkpoint, or one of PyTorch before 1.6. If you trust where it "
      "comes from, let PyTorch write it anew, which runs what is in it: python3 -c \"import torch; "
      "torch.save(torch.load('" +
      file.filename().string() + "', map_location='cpu', weights_only=False), 'new.pt')\"");
}

/// A zip archive's list of entries is at its end.
std::unique_ptr<ZipArchive> open_archive(const fs::path& file) {
  if (!ZipArchive::is_zip(file)) refuse_without_zip(file);
  try {
    return std::make_unique<ZipArchive>(file);
  } catch (const ZipError& error) {
    throw CheckpointError(
        "it begins as a zip archive does but does not end as one: it is cut off, as by a download that was not finished, "
        "or it is no PyTorch checkpoint (" +
        std::string(error.what()) + ")");
  }
}

}  // namespace

TorchCheckpoint::TorchCheckpoint(const fs::path& file) : file_(file.string()) {
  try {
    if (!fs::is_regular_file(file)) throw CheckpointError("there is no such file");
    archive_ = open_archive(file);
    prefix_ = prefix_of(*archive_);
    refuse_foreign_archives(*archive_, prefix_);
    pickle_ = read_pickle(read_entry(*archive_, prefix_ + "data.pkl", kMaxPickleBytes));
  } catch (const RefusedCall& error) {
    throw CheckpointError(file_ + " is refused: " + error.what() +
                          ". Do not load this file with PyTorch unless you trust where it comes from. If you do, save its "
                          "state_dict() alone: that needs no calls");
  } catch (const std::runtime_error& error) {
    throw CheckpointError(file_ + ": " + error.what());
  }
}

TorchCheckpoint::~TorchCheckpoint() = default;

at::Tensor TorchCheckpoint::storage(const PickleStorage& wanted) {
  if (const auto found = storages_.find(wanted.key); found != storages_.end()) return found->second;
  const auto type = type_of_storage(wanted.type);
  if (!type) throw CheckpointError(file_ + ": storages of type " + wanted.type + " are not read");
  const std::string name = prefix_ + "data/" + wanted.key;
  try {
    const uint64_t bytes = archive_->size_of(name);
    const auto width = static_cast<uint64_t>(c10::elementSize(*type));
    if (bytes % width != 0 || bytes / width != static_cast<uint64_t>(wanted.count))
      throw CheckpointError(file_ + ": storage " + wanted.key + " is said to have " + std::to_string(wanted.count) +
                            " numbers, but has " + std::to_string(bytes) + " bytes");
    stored_ += static_cast<int64_t>(bytes);
    if (static_cast<uint64_t>(stored_) > fs::file_size(file_))
      throw CheckpointError(file_ + ": its storages have more bytes than the file; they overlap");
    const at::Tensor numbers = at::empty({wanted.count}, at::TensorOptions().dtype(*type));
    archive_->read(name, numbers.mutable_data_ptr());
    return storages_.emplace(wanted.key, numbers).first->second;
  } catch (const ZipError& error) {
    throw CheckpointError(file_ + ": " + error.what());
  }
}

at::Tensor TorchCheckpoint::load(const PickleTensor& tensor) {
  const auto fail = [&](const std::string& problem) { throw CheckpointError(file_ + ": a tensor " + problem); };
  const at::Tensor numbers = storage(*tensor.storage->as<PickleStorage>());
  // All of it in arithmetic that cannot overflow: no factor is above the storage's length.
  const int64_t available = numbers.numel();
  int64_t count = 1, last = tensor.offset;
  for (const int64_t size : tensor.sizes)
    if (size > kMaxTensorSide) fail("is larger than its storage");
  for (size_t i = 0; i < tensor.sizes.size(); ++i) {
    const int64_t size = tensor.sizes[i], stride = tensor.strides[i];
    if (size == 0) return at::empty(tensor.sizes, numbers.options());
    if (size > available || stride > available) fail("is larger than its storage");
    if (count > available / size) fail("is larger than its storage");
    count *= size;
    if (stride > 0 && size - 1 > (available - std::min(available, last)) / stride) fail("reaches beyond its storage");
    last += (size - 1) * stride;
  }
  if (last >= available) fail("reaches beyond its storage");
  loaded_ += count * numbers.element_size();
  if (loaded_ > kAlwaysAllowed + kMostUseOfAStorage * stored_) fail("is one of too many that show the same numbers");
  return numbers.as_strided(tensor.sizes, tensor.strides, tensor.offset).contiguous();
}

}  // namespace tenfold
