// Errors, and the helper that names the nearest valid choice. Any thread may throw; destructors never do.
#pragma once

#include <fmt/format.h>

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep {

/// Something failed while running. The process exits with 1.
class Error : public std::runtime_error {
 public:
  template <class... Args>
  explicit Error(fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

/// What the user gave cannot be used: says what was given, what was expected, and where. The process exits with 2.
class InputError : public Error {
 public:
  using Error::Error;
};

/// The candidate with the smallest edit distance (Levenshtein) to `given`, ignoring case; empty where none is near.
std::string nearest(std::string_view given, std::span<const std::string> candidates);

/// "unknown optimizer 'adm', expected one of sgd, adam; did you mean 'adam'?"
InputError unknown(std::string_view kind, std::string_view given, std::span<const std::string> candidates);

/// Which of the candidates was given, counted from 0. Throws `unknown` where it is none of them.
size_t index_of(std::string_view kind, std::string_view given, std::span<const std::string> candidates);

}  // namespace lockstep
