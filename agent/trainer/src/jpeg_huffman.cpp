#include "jpeg_huffman.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace tenfold {

namespace {

constexpr int kCoefficients = 64;
constexpr int kZeroRun = 15;       // with size 0: sixteen zeros
constexpr int kMaxDcSize = 11;     // of 8-bit pictures (T.81, table F.1)
constexpr int kMaxAcSize = 10;     // (table F.2)
constexpr size_t kPadding = 4096;  // an MCU has 10 blocks of 64 coefficients of 26 bits at most: 2080 bytes

/// Natural places of the coefficients in zigzag order (T.81, figure A.6). Places past the 64th are those of a block's
/// end or of damage, and lead to the DC coefficient, which is written last.
constexpr auto kNaturalOrder = [] {
  std::array<uint8_t, kCoefficients + 2 * kEndOfBlock> order{};
  size_t next = 0;
  for (int diagonal = 0; diagonal < 15; ++diagonal)
    for (int step = 0; step <= diagonal; ++step) {
      const int row = diagonal % 2 == 0 ? diagonal - step : step;
      const int column = diagonal - row;
      if (row < 8 && column < 8) order[next++] = static_cast<uint8_t>(row * 8 + column);
    }
  return order;
}();

/// The value that `size` bits stand for (T.81, F.2.2.1: EXTEND).
int extend(int bits, int size) {
  return bits < 1 << (size - 1) ? bits - (1 << size) + 1 : bits;
}

/// The symbol that each kLookBits bits begin with; of length 0 where its code is longer.
using FirstSymbols = std::array<HuffmanSymbol, size_t{1} << kLookBits>;

FirstSymbols first_symbols(const HuffmanCode& code) {
  FirstSymbols symbols{};
  for (size_t look = 0; look < symbols.size();) {
    const HuffmanSymbol symbol = code.first_symbol(static_cast<uint16_t>(look << (16 - kLookBits)));
    if (symbol.length == 0 || symbol.length > kLookBits) {
      ++look;
      continue;
    }
    const size_t alike = size_t{1} << (kLookBits - symbol.length);
    std::fill_n(symbols.begin() + static_cast<ptrdiff_t>(look), alike, symbol);
    look += alike;
  }
  return symbols;
}

/// A symbol and the value behind it, found in the first `available` of kLookBits bits.
struct Found {
  int run = 0;    // the symbol's upper half
  int size = 0;   // its lower half: bits of the value
  int value = 0;  // 0 with size 0
  int bits = 0;   // of both
};

std::optional<Found> find(const FirstSymbols& symbols, size_t look, int available) {
  const HuffmanSymbol symbol = symbols[look];
  Found found{symbol.value >> 4, symbol.value & 15, 0, symbol.length + (symbol.value & 15)};
  if (symbol.length == 0 || found.bits > available) return std::nullopt;
  if (found.size > 0) {
    const int behind = static_cast<int>(look >> (kLookBits - found.bits)) & ((1 << found.size) - 1);
    found.value = extend(behind, found.size);
  }
  return found;
}

int advance_of(const Found& found) {
  return found.size == 0 && found.run != kZeroRun ? kEndOfBlock : found.run;
}

template <typename Look>
Look look_at(const FirstSymbols& symbols, size_t look);

template <>
AcLook look_at<AcLook>(const FirstSymbols& symbols, size_t look) {
  const std::optional<Found> first = find(symbols, look, kLookBits);
  if (!first) return {};
  const auto value = static_cast<int16_t>(first->value);
  const auto at = static_cast<uint8_t>(advance_of(*first));
  const auto bits = static_cast<uint8_t>(first->bits);
  const AcLook alone{value, value, at, at, bits, bits};
  if (at == kEndOfBlock) return alone;
  const std::optional<Found> second = find(symbols, (look << bits) % symbols.size(), kLookBits - bits);
  if (!second) return alone;
  AcLook both = alone;
  both.second = static_cast<int16_t>(second->value);
  both.second_at = static_cast<uint8_t>(std::min(at + 1 + advance_of(*second), kEndOfBlock));
  both.all_bits = static_cast<uint8_t>(bits + second->bits);
  return both;
}

template <>
DcLook look_at<DcLook>(const FirstSymbols& symbols, size_t look) {
  const std::optional<Found> found = find(symbols, look, kLookBits);
  if (!found) return {};
  return {static_cast<int16_t>(found->value), static_cast<uint8_t>(found->bits)};
}

}  // namespace

HuffmanCode::HuffmanCode(const DeclaredHuffmanTable& declared) : symbols_(declared.symbols) {
  int32_t code = 0, place = 0;
  for (size_t length = 1; length <= 16; ++length) {
    const int32_t count = declared.codes_of_length[length];
    symbol_offset_[length] = place - code;
    code += count;
    place += count;
    last_code_[length] = count == 0 ? -1 : code - 1;
    code <<= 1;
  }
}

HuffmanSymbol HuffmanCode::first_symbol(uint16_t bits) const {
  for (size_t length = 1; length <= 16; ++length) {
    const int32_t code = bits >> (16 - length);
    if (code > last_code_[length]) continue;
    return {symbols_[static_cast<uint8_t>(code + symbol_offset_[length])], static_cast<uint8_t>(length)};
  }
  return {};
}

template <typename Look>
HuffmanTable<Look>::HuffmanTable(const DeclaredHuffmanTable& declared) : declared_(declared), code_(declared) {
  const FirstSymbols symbols = first_symbols(code_);
  for (size_t look = 0; look < looks_.size(); ++look) looks_[look] = look_at<Look>(symbols, look);
}

template class HuffmanTable<AcLook>;
template class HuffmanTable<DcLook>;

bool EntropyBytes::take(std::span<const uint8_t> file) {
  constexpr uint8_t kMark = 0xFF, kStuffed = 0x00, kRestart = 0xD0, kEndOfImage = 0xD9;
  if (bytes.size() < file.size() + kPadding) bytes.resize(file.size() + kPadding);
  interval_ends.clear();
  size_t used = 0;
  while (!file.empty()) {
    const auto* mark = static_cast<const uint8_t*>(std::memchr(file.data(), kMark, file.size()));
    if (mark == nullptr) return false;
    const auto plain = static_cast<size_t>(mark - file.data());
    if (plain + 2 > file.size()) return false;
    std::memcpy(bytes.data() + used, file.data(), plain);
    used += plain;
    const uint8_t kind = file[plain + 1];
    file = file.subspan(plain + 2);
    if (kind == kStuffed) {
      bytes[used++] = kMark;
    } else if (kind == kRestart + interval_ends.size() % 8) {
      interval_ends.push_back(used);
    } else if (kind == kEndOfImage) {
      interval_ends.push_back(used);
      std::memset(bytes.data() + used, 0, kPadding);
      return true;
    } else {
      return false;
    }
  }
  return false;
}

HuffmanScan::HuffmanScan(const EntropyBytes& entropy, std::array<Component, kMaxComponents> components,
                         unsigned restart_interval)
    : entropy_(entropy), components_(components), restart_interval_(restart_interval) {}

/// Afterwards the buffer has 56 bits or more.
inline void HuffmanScan::BitReader::refill() {
  uint64_t following;
  std::memcpy(&following, next, sizeof(following));
  buffer |= __builtin_bswap64(following) >> bits;
  next += (63 - bits) >> 3;
  bits |= 56;
}

inline void HuffmanScan::BitReader::consume(int count) {
  buffer <<= count;
  bits -= count;
}

/// The value in the next `size` (1 or more) bits.
inline int HuffmanScan::BitReader::value_of(int size) {
  const int value = extend(static_cast<int>(buffer >> (64 - size)), size);
  consume(size);
  return value;
}

// A refill is good for two reads: a DC difference takes 16 + 11 bits at most, an AC coefficient 16 + 10, and the looks
// at two coefficients together fewer than that.
inline bool HuffmanScan::decode_block(BitReader& in, const Component& component, int& dc, int16_t* block) {
  in.refill();
  const DcLook& difference = component.dc->look(in.buffer);
  if (difference.bits != 0) [[likely]] {
    in.consume(difference.bits);
    dc += difference.difference;
  } else {
    const HuffmanSymbol symbol = component.dc->first_symbol(in.buffer);
    if (symbol.length == 0 || symbol.value > kMaxDcSize) return false;
    in.consume(symbol.length);
    if (symbol.value > 0) dc += in.value_of(symbol.value);
  }

  const AcTable& table = *component.ac;
  unsigned at = 1;  // place of the next coefficient in zigzag order
  const auto read_coefficients = [&] {
    const AcLook& look = table.look(in.buffer);
    if (look.all_bits == 0) [[unlikely]] {
      const HuffmanSymbol symbol = table.first_symbol(in.buffer);
      const int run = symbol.value >> 4, size = symbol.value & 15;
      if (symbol.length == 0 || size > kMaxAcSize) return false;
      in.consume(symbol.length);
      if (size == 0) {
        at += run == kZeroRun ? kZeroRun + 1 : kEndOfBlock;
        return true;
      }
      at += static_cast<unsigned>(run);
      block[kNaturalOrder[at]] = static_cast<int16_t>(in.value_of(size));
      ++at;
    } else if (at + look.first_at >= kCoefficients - 1) {  // the first ends the block; a second belongs to the next
      in.consume(look.first_bits);
      at += look.first_at + 1U;
      if (at == kCoefficients) block[kCoefficients - 1] = look.first;
    } else {
      in.consume(look.all_bits);
      block[kNaturalOrder[at + look.first_at]] = look.first;
      block[kNaturalOrder[at + look.second_at]] = look.second;
      at += look.second_at + 1U;
    }
    return true;
  };
  if (!read_coefficients()) return false;
  while (at < kCoefficients) {
    in.refill();
    if (!read_coefficients()) return false;
    if (at >= kCoefficients) break;
    if (!read_coefficients()) return false;
  }
  block[0] = static_cast<int16_t>(dc);
  const bool ended = at == kCoefficients || at > kEndOfBlock;
  return ended && dc == block[0];
}

bool HuffmanScan::decode_mcu(std::span<int16_t* const> blocks, std::span<const int> component_of) {
  const bool begins = restart_interval_ > 0 ? left_in_interval_ == 0 : intervals_begun_ == 0;
  if (begins && !start_interval()) return false;
  if (restart_interval_ > 0) --left_in_interval_;
  BitReader in = in_;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto which = static_cast<size_t>(component_of[i]);
    if (!decode_block(in, components_[which], dc_[which], blocks[i])) return false;
  }
  in_ = in;
  return bits_left() >= 0;
}

bool HuffmanScan::at_end() const {
  return intervals_begun_ == entropy_.interval_ends.size() && interval_is_used();
}

/// Goes to the bytes behind the next restart marker, where no DC coefficient is known.
bool HuffmanScan::start_interval() {
  if (intervals_begun_ == entropy_.interval_ends.size() || (intervals_begun_ > 0 && !interval_is_used())) return false;
  const size_t begin = intervals_begun_ == 0 ? 0 : entropy_.interval_ends[intervals_begun_ - 1];
  ++intervals_begun_;
  in_ = {.next = entropy_.bytes.data() + begin};
  dc_.fill(0);
  left_in_interval_ = restart_interval_;
  return true;
}

/// Less than a byte is left of an interval that has been read.
bool HuffmanScan::interval_is_used() const {
  return bits_left() >= 0 && bits_left() < 8;
}

/// Of the interval that is being read; negative when more was read than it has.
int64_t HuffmanScan::bits_left() const {
  const int64_t read = (in_.next - entropy_.bytes.data()) * 8 - in_.bits;
  return static_cast<int64_t>(entropy_.interval_ends[intervals_begun_ - 1]) * 8 - read;
}

}  // namespace tenfold
