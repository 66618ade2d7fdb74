// The pool behind PixelBuffer: free lists by size class, shared by all threads of the process.
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "image.h"

namespace tenfold {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kSmallestClass = 4096;
// More than this is not kept for reuse but given back to the system.
constexpr size_t kKeptBytes = size_t{256} << 20;

/// Rounds up to a power of two or one of the seven steps between it and the next: at most an eighth is wasted.
size_t size_class(size_t bytes) {
  if (bytes <= kSmallestClass) return kSmallestClass;
  const size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

class Pool {
 public:
  uint8_t* take(size_t capacity) {
    {
      const std::lock_guard lock(mutex_);
      auto& free = free_[capacity];
      if (!free.empty()) {
        uint8_t* const data = free.back();
        free.pop_back();
        kept_bytes_ -= capacity;
        return data;
      }
    }
    void* const data = std::aligned_alloc(kAlignment, capacity);
    if (data == nullptr) throw std::bad_alloc();
    return static_cast<uint8_t*>(data);
  }

  void give_back(uint8_t* data, size_t capacity) noexcept {
    const std::lock_guard lock(mutex_);
    if (kept_bytes_ + capacity > kKeptBytes) return std::free(data);
    try {
      free_[capacity].push_back(data);
      kept_bytes_ += capacity;
    } catch (const std::bad_alloc&) {
      std::free(data);
    }
  }

 private:
  std::mutex mutex_;
  std::map<size_t, std::vector<uint8_t*>> free_;
  size_t kept_bytes_ = 0;
};

/// Never destroyed: images with static lifetime may give back after main().
Pool& pool() {
  static Pool* const shared = new Pool;
  return *shared;
}

}  // namespace

PixelBuffer::PixelBuffer(size_t bytes) : size_(bytes), capacity_(size_class(bytes + kPixelSlack)) {
  data_ = pool().take(capacity_);
}

PixelBuffer::~PixelBuffer() {
  if (data_ != nullptr) pool().give_back(data_, capacity_);
}

PixelBuffer::PixelBuffer(PixelBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

PixelBuffer& PixelBuffer::operator=(PixelBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

}  // namespace tenfold
