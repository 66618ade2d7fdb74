#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace tenfold {

/// Pages of memory that several processes have; unmapped at its end.
class SharedPages {
 public:
  /// `protection` as mmap takes it. Null where they cannot be had.
  static std::unique_ptr<const SharedPages> map(int file, size_t bytes, int protection);
  ~SharedPages();
  SharedPages(const SharedPages&) = delete;
  SharedPages& operator=(const SharedPages&) = delete;

  std::span<std::byte> bytes() const { return {data_, size_}; }

 private:
  SharedPages(std::byte* data, size_t size) : data_(data), size_(size) {}

  std::byte* data_;
  size_t size_;
};

/// Memory of ranks on one host: each writes a part of its own and reads those of all. It has no name in any file system, so
/// nothing of it stays behind, whatever ends the ranks.
class SharedMemory {
 public:
  using Parts = std::vector<std::unique_ptr<const SharedPages>>;

  /// Parts of so many bytes. Every rank of the group must call it. Null on all of them where one cannot have the others'
  /// parts: in other containers or on other hosts, or where there is too little memory.
  static std::unique_ptr<SharedMemory> open(c10d::ProcessGroup& group, size_t bytes);

  SharedMemory(Parts parts, int own, size_t bytes) : parts_(std::move(parts)), own_(own), bytes_(bytes) {}

  std::span<std::byte> own_part() const { return pages_of(own_); }
  std::span<const std::byte> part(int rank) const { return pages_of(rank); }

 private:
  std::span<std::byte> pages_of(int rank) const { return parts_[static_cast<size_t>(rank)]->bytes().first(bytes_); }

  Parts parts_;  // by rank
  int own_;
  size_t bytes_;  // of a part; more pages may lie behind them
};

}  // namespace tenfold
