#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace tenfold {

/// SHA-256 (FIPS 180-4), fed piece by piece. OpenSSL computes it, with the CPU's instructions for it where it has them.
class Sha256 {
 public:
  Sha256();
  void update(std::span<const uint8_t> bytes);
  /// Lower-case hex digest of all that was fed. Ends the computation.
  std::string hex();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

std::string sha256_hex(std::span<const uint8_t> bytes);

}  // namespace tenfold
