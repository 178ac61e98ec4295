// JSON text with the line at which each value stands, so that an error about its meaning can name the place.
// A document is read by any thread.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>

namespace lockstep {

class JsonDocument {
 public:
  /// `file` is the name in errors. Throws InputError "file:line:column: …" for what is not JSON and for a key that
  /// comes twice in one object (which JSON allows, and readers resolve differently).
  JsonDocument(std::string_view text, std::string file);
  /// Reads and parses a file. Throws InputError when it cannot be read, too.
  static JsonDocument read(const std::filesystem::path& path);

  const nlohmann::ordered_json& root() const { return root_; }
  const std::string& file() const { return file_; }
  /// The line, from 1, at which the value of a JSON pointer (RFC 6901: "/layers/3/filters") begins; of an object's
  /// member, its key. Where there is no such value, the line of the nearest one above it: a missing key is told at its
  /// object.
  int line(const std::string& pointer) const;
  /// "model.json:12: layers[3].filters"; without the path for the root.
  std::string where(const std::string& pointer) const;

 private:
  std::string file_;
  nlohmann::ordered_json root_;
  std::unordered_map<std::string, int> lines_;  // by pointer
};

/// A key as one part of a JSON pointer, with its slash and its escapes: "a/b" gives "/a~1b".
std::string json_pointer_part(std::string_view key);

}  // namespace lockstep
