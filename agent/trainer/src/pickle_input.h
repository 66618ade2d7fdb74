#pragma once

#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "pickle.h"

namespace tenfold {

[[noreturn]] inline void damaged(const std::string& what) { throw PickleError("damaged: " + what); }

/// The bytes of a pickle, taken from the front; every length is checked before it is used.
class PickleInput {
 public:
  explicit PickleInput(std::span<const uint8_t> bytes) : rest_(bytes) {}

  uint8_t byte() { return take(1)[0]; }
  std::string_view text(uint64_t size) {
    const auto bytes = take(size);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::string_view line() {
    const auto* end = static_cast<const uint8_t*>(std::memchr(rest_.data(), '\n', rest_.size()));
    if (end == nullptr) damaged("a line without an end");
    const std::string_view line = text(static_cast<uint64_t>(end - rest_.data()));
    take(1);
    return line;
  }
  /// A whole number of `Number`'s size, least significant byte first.
  template <typename Number>
  Number little() {
    const auto bytes = take(sizeof(Number));
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(Number); ++i) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
    return static_cast<Number>(value);
  }
  double big_double() {
    const auto bytes = take(sizeof(double));
    uint64_t value = 0;
    for (const uint8_t byte : bytes) value = value << 8U | byte;
    return std::bit_cast<double>(value);
  }

 private:
  std::span<const uint8_t> take(uint64_t size) {
    if (size > rest_.size()) damaged("it ends too early");
    const auto front = rest_.first(static_cast<size_t>(size));
    rest_ = rest_.subspan(static_cast<size_t>(size));
    return front;
  }

  std::span<const uint8_t> rest_;
};

/// A number written in figures.
template <typename Number>
Number number_in(std::string_view text) {
  Number value{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) damaged("not a number");
  return value;
}

}  // namespace tenfold
