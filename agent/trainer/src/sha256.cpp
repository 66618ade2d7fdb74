#include "sha256.h"

#include <openssl/evp.h>

#include <array>
#include <new>
#include <stdexcept>

namespace tenfold {
namespace {

/// Fails where memory is short, or where an OpenSSL configuration of the host's admits no SHA-256.
void check(int result) {
  if (result != 1) throw std::runtime_error("OpenSSL does not compute SHA-256");
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (!context_) throw std::bad_alloc();
  check(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
}

void Sha256::update(std::span<const uint8_t> bytes) {
  check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
}

std::string Sha256::hex() {
  std::array<uint8_t, 32> digest;
  check(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr));
  std::string text;
  for (const uint8_t byte : digest) {
    text.push_back("0123456789abcdef"[byte >> 4]);
    text.push_back("0123456789abcdef"[byte & 15]);
  }
  return text;
}

std::string sha256_hex(std::span<const uint8_t> bytes) {
  Sha256 digest;
  digest.update(bytes);
  return digest.hex();
}

}  // namespace tenfold
