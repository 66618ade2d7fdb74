#pragma once

#include <cstdint>
#include <string_view>

namespace tenfold {

/// CRC-32C (Castagnoli) of the bytes, as iSCSI has it (RFC 3720, appendix B.4).
uint32_t crc32c(std::string_view bytes);

}  // namespace tenfold
