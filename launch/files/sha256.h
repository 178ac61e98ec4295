// SHA-256 of bytes as they come (OpenSSL). One thread uses an object.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "core/handle.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX, so that no includer needs its headers

namespace lockstep {

void free_digest(evp_md_ctx_st* context) noexcept;

class Sha256 {
 public:
  Sha256();
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  /// The digest of all bytes so far as 64 lower-case hex digits; more may follow.
  std::string hex() const;

 private:
  Handle<evp_md_ctx_st*, free_digest> context_;
};

/// The digest of one piece of data.
std::string sha256(std::span<const std::byte> bytes);
inline std::string sha256(std::string_view text) { return sha256(std::as_bytes(std::span(text))); }

}  // namespace lockstep
