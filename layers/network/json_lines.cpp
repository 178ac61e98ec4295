#include "layers/network/json_lines.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "core/error.h"

namespace lockstep {

namespace {

using nlohmann::ordered_json;

/// Tells the document's builder how far the parser has read.
class Cursor {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Cursor(const char* at, const char** read) : at_(at), read_(read) {}
  reference operator*() const { return *at_; }
  Cursor& operator++() {
    *read_ = ++at_;
    return *this;
  }
  Cursor operator++(int) {
    Cursor old = *this;
    ++*this;
    return old;
  }
  bool operator==(const Cursor& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** read_;
};

/// Receives the parser's events; builds the value and notes the lines.
class DocumentBuilder final : public nlohmann::json_sax<ordered_json> {
 public:
  DocumentBuilder(std::string_view text, const std::string& file, ordered_json& root,
                  std::unordered_map<std::string, int>& lines)
      : read(text.data()), text_(text), file_(file), root_(root), lines_(lines), counted_(text.data()) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& value) override { return add(std::move(value)); }
  bool start_object(std::size_t) override { return open(ordered_json::object()); }
  bool start_array(std::size_t) override { return open(ordered_json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    level.key = name;
    level.pointer = level.prefix + json_pointer_part(name);
    const int line = line_here();
    if (!lines_.emplace(level.pointer, line).second)
      throw InputError("{}:{}:{}: the key '{}' comes a second time, first on line {}", file_, line, column_here(), name,
                       lines_.at(level.pointer));
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 3, column 7: syntax error …": the place is told our way.
    std::string what = error.what();
    const size_t place = what.find("column ");
    const size_t colon = place == std::string::npos ? std::string::npos : what.find(": ", place);
    if (colon != std::string::npos) {
      what.erase(0, colon + 2);
    } else if (const size_t bracket = what.find("] "); bracket != std::string::npos) {
      what.erase(0, bracket + 2);
    }
    const int line = line_here();
    throw InputError("{}:{}:{}: {}", file_, line, column_here(), what);
  }

  const char* read;  // just after the last character that the parser has taken

 private:
  struct Level {
    ordered_json* container;
    std::string prefix;   // of its members' pointers
    std::string key;      // of the member that comes next
    std::string pointer;  // of the same
  };

  /// The last character of the token that the event is about. To end a number the parser must look one further.
  const char* token() const {
    const char* at = read == text_.data() ? read : read - 1;
    const bool further = at > text_.data() && std::strchr(" \t\r\n,]}", *at) && std::strchr("0123456789.eE+-", at[-1]);
    return further ? at - 1 : at;
  }
  int line_here() {
    const char* at = token();
    if (at > counted_) {
      line_ += static_cast<int>(std::count(counted_, at, '\n'));
      counted_ = at;
    }
    return line_;
  }
  int column_here() const {
    const char* at = token();
    const size_t end = static_cast<size_t>(at - text_.data());
    const size_t newline = end == 0 ? std::string_view::npos : text_.rfind('\n', end - 1);
    return static_cast<int>(newline == std::string_view::npos ? end + 1 : end - newline);
  }

  template <class T>
  ordered_json* place(T&& value) {
    if (levels_.empty()) {
      lines_.emplace("", line_here());
      root_ = std::forward<T>(value);
      return &root_;
    }
    Level& level = levels_.back();
    if (level.container->is_object()) return &((*level.container)[level.key] = std::forward<T>(value));
    level.pointer = level.prefix + json_pointer_part(std::to_string(level.container->size()));
    lines_.emplace(level.pointer, line_here());
    level.container->push_back(std::forward<T>(value));
    return &level.container->back();
  }
  template <class T>
  bool add(T&& value) {
    place(std::forward<T>(value));
    return true;
  }
  bool open(ordered_json empty) {
    ordered_json* container = place(std::move(empty));
    // The container stays where it is while its level is open: only its own members are added to.
    levels_.push_back({container, levels_.empty() ? "" : levels_.back().pointer, {}, {}});
    return true;
  }
  bool close() {
    levels_.pop_back();
    return true;
  }

  std::string_view text_;
  const std::string& file_;
  ordered_json& root_;
  std::unordered_map<std::string, int>& lines_;
  std::vector<Level> levels_;
  const char* counted_;  // up to here
  int line_ = 1;         // newlines have been counted in this
};

/// A part of a JSON pointer without its escapes.
std::string json_pointer_key(std::string_view part) {
  std::string key;
  for (size_t i = 0; i < part.size(); ++i) {
    const bool escape = part[i] == '~' && i + 1 < part.size() && (part[i + 1] == '0' || part[i + 1] == '1');
    key += !escape ? part[i] : part[++i] == '0' ? '~' : '/';
  }
  return key;
}

}  // namespace

std::string json_pointer_part(std::string_view key) {
  std::string part = "/";
  for (char c : key) {
    if (c == '~')
      part += "~0";
    else if (c == '/')
      part += "~1";
    else
      part += c;
  }
  return part;
}

JsonDocument::JsonDocument(std::string_view text, std::string file) : file_(std::move(file)) {
  DocumentBuilder builder(text, file_, root_, lines_);
  ordered_json::sax_parse(Cursor(text.data(), &builder.read), Cursor(text.data() + text.size(), &builder.read),
                          &builder);
}

JsonDocument JsonDocument::read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  std::error_code ignored;
  const bool directory = std::filesystem::is_directory(path, ignored);
  if (!in || directory || (in.peek() != EOF && !(text << in.rdbuf())))
    throw InputError("cannot read '{}': {}", path.string(), directory ? "it is a directory" : std::strerror(errno));
  return JsonDocument(text.str(), path.string());
}

int JsonDocument::line(const std::string& pointer) const {
  std::string above = pointer;
  while (true) {
    if (const auto found = lines_.find(above); found != lines_.end()) return found->second;
    if (above.empty()) return 1;
    above.resize(above.rfind('/') == std::string::npos ? 0 : above.rfind('/'));
  }
}

std::string JsonDocument::where(const std::string& pointer) const {
  std::string path;
  const ordered_json* value = &root_;
  for (size_t at = 0; at < pointer.size();) {
    const size_t end = std::min(pointer.find('/', at + 1), pointer.size());
    const std::string part = json_pointer_key(std::string_view(pointer).substr(at + 1, end - at - 1));
    at = end;
    // A part is an index where the value that it is taken from is an array.
    const bool index = value && value->is_array();
    path += index ? "[" + part + "]" : (path.empty() ? "" : ".") + part;
    value = !value || !lines_.contains(pointer.substr(0, end)) ? nullptr
            : index                                            ? &value->at(std::stoul(part))
                                                               : &value->at(part);
  }
  return fmt::format("{}:{}{}{}", file_, line(pointer), path.empty() ? "" : ": ", path);
}

}  // namespace lockstep
