#pragma once

// Huffman decoding of baseline JPEG scans (ITU-T T.81, annexes B, C and F), for image_jpeg_baseline.cpp. Two thirds of
// the time that a large JPEG takes are this. What makes it fast: stuffed bytes are taken out ahead, and one look at the next
// bits finds up to two coefficients, their values included.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace tenfold {

/// A table as a file declares it: how many codes have 0 (none), 1, … 16 bits, and the codes' symbols in order.
struct DeclaredHuffmanTable {
  std::array<uint8_t, 17> codes_of_length{};
  std::array<uint8_t, 256> symbols{};

  bool operator==(const DeclaredHuffmanTable&) const = default;
};

/// A symbol and the bits of its code; `length` is 0 where no code begins with the bits looked at.
struct HuffmanSymbol {
  uint8_t value = 0;
  uint8_t length = 0;
};

/// The canonical code of a table (T.81, annex C).
class HuffmanCode {
 public:
  explicit HuffmanCode(const DeclaredHuffmanTable& declared);

  /// The symbol whose code `bits` begin with.
  HuffmanSymbol first_symbol(uint16_t bits) const;

 private:
  std::array<int32_t, 17> last_code_{};      // by length; -1: no code has it
  std::array<int32_t, 17> symbol_offset_{};  // by length: a code's place in symbols_ less the code
  std::array<uint8_t, 256> symbols_{};
};

/// So many bits are looked at in one go.
inline constexpr int kLookBits = 11;

/// Advance of the symbol that ends a block: past the 64th coefficient from anywhere in a block.
inline constexpr int kEndOfBlock = 128;

/// The one or two AC coefficients that kLookBits bits begin with. A run of 16 zeros counts as a coefficient of 0.
struct AcLook {
  int16_t first = 0, second = 0;         // values; both are the first's where there is no second
  uint8_t first_at = 0, second_at = 0;   // places in zigzag order from the next coefficient's, or kEndOfBlock
  uint8_t first_bits = 0, all_bits = 0;  // read by the first, by both; 0: the first has more than kLookBits
};

/// The DC difference that kLookBits bits begin with.
struct DcLook {
  int16_t difference = 0;
  uint8_t bits = 0;  // 0: it has more than kLookBits
};

template <typename Look>
class HuffmanTable {
 public:
  explicit HuffmanTable(const DeclaredHuffmanTable& declared);

  const DeclaredHuffmanTable& declared() const { return declared_; }
  const Look& look(uint64_t next_bits) const { return looks_[next_bits >> (64 - kLookBits)]; }
  HuffmanSymbol first_symbol(uint64_t next_bits) const {
    return code_.first_symbol(static_cast<uint16_t>(next_bits >> 48));
  }

 private:
  DeclaredHuffmanTable declared_;
  HuffmanCode code_;
  std::array<Look, size_t{1} << kLookBits> looks_;
};

using AcTable = HuffmanTable<AcLook>;
using DcTable = HuffmanTable<DcLook>;

/// A scan's entropy-coded bytes without the stuffing, and where the intervals between restart markers end. Zeros follow
/// the last interval, more than an MCU can take.
struct EntropyBytes {
  std::vector<uint8_t> bytes;
  std::vector<size_t> interval_ends;

  /// Takes the bytes of the scan that `file` begins with. False when its markers are not those of a whole baseline
  /// file: restarts counting from 0 to 7, then the end of the image.
  bool take(std::span<const uint8_t> file);
};

/// Decodes the MCUs of one scan in order.
class HuffmanScan {
 public:
  static constexpr int kMaxComponents = 4;

  struct Component {
    const DcTable* dc = nullptr;
    const AcTable* ac = nullptr;
  };

  /// `restart_interval`: MCUs between two restart markers, 0 for none.
  HuffmanScan(const EntropyBytes& entropy, std::array<Component, kMaxComponents> components, unsigned restart_interval);

  /// The quantised coefficients of the next MCU, in natural order: `blocks[i]` is 64 zeros at first, and belongs to the
  /// component `component_of[i]`. False when the bytes are not a baseline scan's; nothing can be decoded then.
  bool decode_mcu(std::span<int16_t* const> blocks, std::span<const int> component_of);

  /// Whether every byte has been used: said after the last MCU, that the scan was sound.
  bool at_end() const;

 private:
  /// The next bits of the interval, highest first.
  struct BitReader {
    const uint8_t* next = nullptr;
    uint64_t buffer = 0;
    int bits = 0;  // in the buffer, for sure; below them it has the bits that follow, or zeros

    void refill();
    void consume(int count);
    int value_of(int size);
  };

  bool start_interval();
  bool interval_is_used() const;
  int64_t bits_left() const;
  static bool decode_block(BitReader& in, const Component& component, int& dc, int16_t* block);

  const EntropyBytes& entropy_;
  std::array<Component, kMaxComponents> components_;
  std::array<int, kMaxComponents> dc_{};  // of the block before, by component
  unsigned restart_interval_;
  unsigned left_in_interval_ = 0;  // MCUs
  size_t intervals_begun_ = 0;
  BitReader in_;
};

}  // namespace tenfold
