#include "image_jpeg_baseline.h"

// Debian's and Ubuntu's packages of libjpeg-turbo install the header of its inner parts; where it is missing, the
// library decodes alone.
#if __has_include(<jpegint.h>)

#include <csetjmp>
#include <cstdio>
#define JPEG_INTERNALS
#include <jpeglib.h>

#include <algorithm>
#include <array>

#include "jpeg_huffman.h"

namespace tenfold {

namespace {

/// The tables that a thread used last: most files declare those of the standard, or a data set's files the same.
template <typename Table>
class RecentTables {
 public:
  const Table& of(size_t slot, const JHUFF_TBL& declared) {
    DeclaredHuffmanTable table;
    std::copy_n(declared.bits, table.codes_of_length.size(), table.codes_of_length.begin());
    std::copy_n(declared.huffval, table.symbols.size(), table.symbols.begin());
    std::optional<Table>& kept = tables_[slot];
    if (!kept || kept->declared() != table) kept.emplace(table);
    return *kept;
  }

 private:
  std::array<std::optional<Table>, NUM_HUFF_TBLS> tables_;
};

/// What a thread keeps from picture to picture.
struct Workspace {
  EntropyBytes entropy;
  RecentTables<DcTable> dc_tables;
  RecentTables<AcTable> ac_tables;
};

/// Any error or warning of the library ends the attempt.
struct Errors {
  jpeg_error_mgr manager;  // first: libjpeg knows this alone
  std::jmp_buf given_up;
};

[[noreturn]] void give_up(j_common_ptr jpeg) {
  std::longjmp(reinterpret_cast<Errors*>(jpeg->err)->given_up, 1);
}

void give_up_at_warnings(j_common_ptr jpeg, int level) {
  if (level < 0) give_up(jpeg);
}

/// libjpeg's state of one picture.
class Decompressor {
 public:
  Decompressor() {
    jpeg_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = give_up;
    errors_.manager.emit_message = give_up_at_warnings;
    jpeg_create_decompress(&jpeg_);
  }
  ~Decompressor() { jpeg_destroy_decompress(&jpeg_); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  /// Fills `image`, which has the reduced picture's size. False where this is not for us; `image` is undefined then.
  bool decode(std::span<const uint8_t> file, int denominator, Workspace& workspace, Image& image) {
    std::optional<HuffmanScan> scan;
    // Nothing between here and the jump has a destructor that must run.
    if (setjmp(errors_.given_up) != 0) return false;
    jpeg_mem_src(&jpeg_, file.data(), file.size());
    jpeg_read_header(&jpeg_, TRUE);
    if (!is_baseline()) return false;
    jpeg_.scale_num = 1;
    jpeg_.scale_denom = static_cast<unsigned>(denominator);
    jpeg_.out_color_space = JCS_RGB;
    jpeg_start_decompress(&jpeg_);
    if (static_cast<int>(jpeg_.output_width) != image.width || static_cast<int>(jpeg_.output_height) != image.height)
      return false;
    if (!workspace.entropy.take({jpeg_.src->next_input_byte, jpeg_.src->bytes_in_buffer})) return false;
    scan.emplace(workspace.entropy, components(workspace), jpeg_.restart_interval);
    jpeg_.client_data = &*scan;
    jpeg_.entropy->decode_mcu = &decode_mcu;
    read_rows(image);
    return scan->at_end();
  }

 private:
  /// 8 bits, one scan, Huffman codes, colours that libjpeg turns into RGB.
  bool is_baseline() {
    const bool colours = jpeg_.jpeg_color_space == JCS_YCbCr || jpeg_.jpeg_color_space == JCS_GRAYSCALE;
    return colours && jpeg_.data_precision == BITS_IN_JSAMPLE && jpeg_.progressive_mode == FALSE &&
           jpeg_.arith_code == FALSE && jpeg_has_multiple_scans(&jpeg_) == FALSE;
  }

  /// Once the library has found the tables sound, as it does when it starts.
  std::array<HuffmanScan::Component, HuffmanScan::kMaxComponents> components(Workspace& workspace) const {
    std::array<HuffmanScan::Component, HuffmanScan::kMaxComponents> all;
    for (size_t i = 0; i < static_cast<size_t>(jpeg_.comps_in_scan); ++i) {
      const auto dc = static_cast<size_t>(jpeg_.cur_comp_info[i]->dc_tbl_no);
      const auto ac = static_cast<size_t>(jpeg_.cur_comp_info[i]->ac_tbl_no);
      all[i] = {&workspace.dc_tables.of(dc, *jpeg_.dc_huff_tbl_ptrs[dc]),
                &workspace.ac_tables.of(ac, *jpeg_.ac_huff_tbl_ptrs[ac])};
    }
    return all;
  }

  static boolean decode_mcu(j_decompress_ptr jpeg, JBLOCKROW* mcu) {
    const auto blocks = static_cast<size_t>(jpeg->blocks_in_MCU);
    std::array<int16_t*, D_MAX_BLOCKS_IN_MCU> coefficients;
    for (size_t i = 0; i < blocks; ++i) coefficients[i] = mcu[i][0];
    auto& scan = *static_cast<HuffmanScan*>(jpeg->client_data);
    if (!scan.decode_mcu({coefficients.data(), blocks}, {jpeg->MCU_membership, blocks}))
      give_up(reinterpret_cast<j_common_ptr>(jpeg));
    return TRUE;
  }

  void read_rows(Image& image) {
    constexpr int kRows = 16;
    std::array<JSAMPROW, kRows> rows;
    while (jpeg_.output_scanline < jpeg_.output_height) {
      const int first = static_cast<int>(jpeg_.output_scanline);
      const int count = std::min(kRows, image.height - first);
      for (int i = 0; i < count; ++i) rows[static_cast<size_t>(i)] = image.row(first + i);
      jpeg_read_scanlines(&jpeg_, rows.data(), static_cast<JDIMENSION>(count));
    }
  }

  jpeg_decompress_struct jpeg_{};
  Errors errors_{};
};

}  // namespace

std::optional<Image> decode_baseline_jpeg(std::span<const uint8_t> file, ImageSize size, int denominator) {
  thread_local Workspace workspace;
  Image image(size.width, size.height);
  Decompressor decompressor;
  if (!decompressor.decode(file, denominator, workspace, image)) return std::nullopt;
  return image;
}

}  // namespace tenfold

#else

namespace tenfold {

std::optional<Image> decode_baseline_jpeg(std::span<const uint8_t>, ImageSize, int) {
  return std::nullopt;
}

}  // namespace tenfold

#endif
