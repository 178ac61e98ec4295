#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <variant>

#include "core/error.h"
#include "launch/data/feed/augment.h"

namespace lockstep {

namespace {

/// What may be written: a flag, or a number from above 0 to `most`, kept as it is or as a share.
struct Word {
  std::string_view name, unit;
  std::variant<bool Augmentation::*, int64_t Augmentation::*, float Augmentation::*, float Mix::*> field;
  double most = 0;
};

constexpr double most_pixels = 1 << 20;
const Word words[] = {{"crop", "PIXELS", &Augmentation::crop, most_pixels},
                      {"flip", "", &Augmentation::flip},
                      {"rotate", "DEGREES", &Augmentation::rotate, 180},
                      {"zoom", "PERCENT", &Augmentation::zoom, 90},
                      {"vertical_flip", "", &Augmentation::vertical_flip},
                      {"shear", "DEGREES", &Augmentation::shear, 60},
                      {"translate", "PERCENT", &Augmentation::translate, 100},
                      {"brightness", "PERCENT", &Augmentation::brightness, 100},
                      {"contrast", "PERCENT", &Augmentation::contrast, 100},
                      {"saturation", "PERCENT", &Augmentation::saturation, 100},
                      {"hue", "DEGREES", &Augmentation::hue, 180},
                      {"cutout", "PIXELS", &Augmentation::cutout, most_pixels},
                      {"erase", "PERCENT", &Augmentation::erase, 100},
                      {"resized_crop", "PERCENT", &Augmentation::resized_crop, 100},
                      {"mixup", "ALPHA", &Mix::mixup, 100},
                      {"cutmix", "ALPHA", &Mix::cutmix, 100}};

bool read_word(const Word& word, std::string_view number, bool has_colon, Augmentation& result) {
  if (const auto* flag = std::get_if<bool Augmentation::*>(&word.field)) return !has_colon && (result.**flag = true);
  const auto read = [&](auto& value) {
    const auto [stopped, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    return error == std::errc{} && stopped == number.data() + number.size() && value > 0 &&
           static_cast<double>(value) <= word.most;
  };
  if (const auto* whole = std::get_if<int64_t Augmentation::*>(&word.field)) return read(result.**whole);
  if (const auto* alpha = std::get_if<float Mix::*>(&word.field)) return read(result.mix.**alpha);
  float& value = result.*std::get<float Augmentation::*>(word.field);
  const bool good = read(value);
  if (word.unit == "PERCENT") value /= 100;
  return good;
}

InputError malformed(const std::string& text) {
  return InputError(
      "augmentation '{}', expected none, or some of {} (up to 180 degrees, shear 60, 100 percent, zoom 90, and an "
      "alpha of 100)",
      text, fmt::join(Augmentation::forms(), ","));
}

}  // namespace

std::vector<std::string> Augmentation::forms() {
  std::vector<std::string> all;
  for (const Word& word : words)
    all.push_back(word.unit.empty() ? std::string(word.name) : fmt::format("{}:{}", word.name, word.unit));
  return all;
}

Augmentation Augmentation::parse(const std::string& text) {
  Augmentation result;
  if (text == "none") return result;
  std::set<std::string_view> seen;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string_view part = std::string_view(text).substr(at, comma - at);
    at = comma + 1;
    const size_t colon = std::min(part.find(':'), part.size());
    const std::string_view name = part.substr(0, colon);
    const auto* word = std::ranges::find(words, name, &Word::name);
    if (word == std::end(words) || !seen.insert(name).second ||
        !read_word(*word, part.substr(std::min(colon + 1, part.size())), colon < part.size(), result))
      throw malformed(text);
  }
  return result;
}

}  // namespace lockstep
