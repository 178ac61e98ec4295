#include "launch/files/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "core/error.h"

namespace lockstep {

namespace {

void check(int result) {
  if (result != 1) throw Error("OpenSSL could not compute SHA-256");
}

}  // namespace

void free_digest(evp_md_ctx_st* context) noexcept { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  check(context_ ? 1 : 0);
  check(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr));
}

void Sha256::update(std::span<const std::byte> bytes) {
  check(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()));
}

std::string Sha256::hex() const {
  // Finishing ends a context, so a copy is finished.
  const Handle<evp_md_ctx_st*, free_digest> copy(EVP_MD_CTX_new());
  check(copy ? 1 : 0);
  check(EVP_MD_CTX_copy_ex(copy.get(), context_.get()));
  std::array<unsigned char, 32> digest;
  check(EVP_DigestFinal_ex(copy.get(), digest.data(), nullptr));
  std::string text;
  for (unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string sha256(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

}  // namespace lockstep
