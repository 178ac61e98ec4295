#include "core/error.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <numeric>

namespace lockstep {

namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const bool same =
          std::tolower(static_cast<unsigned char>(a[i])) == std::tolower(static_cast<unsigned char>(b[j]));
      const size_t replace = diagonal + (same ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string nearest(std::string_view given, std::span<const std::string> candidates) {
  std::string best;
  size_t least = std::max<size_t>(2, given.size() / 2) + 1;
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(given, candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

InputError unknown(std::string_view kind, std::string_view given, std::span<const std::string> candidates) {
  const std::string near = nearest(given, candidates);
  const std::string hint = near.empty() ? "" : fmt::format("; did you mean '{}'?", near);
  return InputError("unknown {} '{}', expected one of {}{}", kind, given, fmt::join(candidates, ", "), hint);
}

size_t index_of(std::string_view kind, std::string_view given, std::span<const std::string> candidates) {
  const auto found = std::ranges::find(candidates, given);
  if (found == candidates.end()) throw unknown(kind, given, candidates);
  return static_cast<size_t>(found - candidates.begin());
}

}  // namespace lockstep
