#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

namespace tenfold {

/// Pages of memory that several processes have; unmapped at its end.
class SharedPages {
 public:
  /// `protection` as mmap takes it. Null where they cannot be had.
  static std::unique_ptr<SharedPages> map(int file, size_t bytes, int protection);
  ~SharedPages();
  SharedPages(const SharedPages&) = delete;
  SharedPages& operator=(const SharedPages&) = delete;

  std::span<std::byte> bytes() { return {data_, size_}; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  SharedPages(std::byte* data, size_t size) : data_(data), size_(size) {}

  std::byte* data_;
  size_t size_;
};

/// Memory of two ranks on one host: each writes a part of its own and reads the other's. It has no name in any file system,
/// so nothing of it stays behind, whatever ends the ranks.
class SharedMemory {
 public:
  /// Parts of so many bytes. Both ranks of the group must call it; one that does not want it says so. Null on both where
  /// either does not, or cannot have the other's part: it is on another host, in another container, or has not the memory.
  static std::unique_ptr<SharedMemory> open(c10d::ProcessGroup& group, size_t bytes, bool wanted = true);

  SharedMemory(std::unique_ptr<SharedPages> own, std::unique_ptr<const SharedPages> others, size_t bytes)
      : own_(std::move(own)), others_(std::move(others)), bytes_(bytes) {}

  std::span<std::byte> own_part() { return own_->bytes().first(bytes_); }
  std::span<const std::byte> others_part() const { return others_->bytes().first(bytes_); }

 private:
  std::unique_ptr<SharedPages> own_;
  std::unique_ptr<const SharedPages> others_;
  size_t bytes_;  // of a part; more pages may lie behind them
};

}  // namespace tenfold
