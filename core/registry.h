// What is found by its name: what Lockstep brings, and what a program adds. Adding is for the main thread, before a
// model is made; finding is for any thread.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace lockstep {

template <class T>
class Registry {
 public:
  /// `what` is the word for one of them in errors: "layer type".
  Registry(std::string what, std::vector<std::pair<std::string, T>> own)
      : what_(std::move(what)), all_(std::move(own)) {}

  /// Throws InputError where the name is empty, or taken.
  void add(const std::string& name, T value) {
    if (name.empty()) throw InputError("a {} without a name cannot be registered", what_);
    if (std::ranges::any_of(all_, [&](const auto& known) { return known.first == name; }))
      throw InputError("{} '{}' is registered already", what_, name);
    all_.emplace_back(name, std::move(value));
  }
  /// Throws InputError with the nearest name.
  const T& find(const std::string& name) const {
    for (const auto& [known, value] : all_)
      if (known == name) return value;
    throw unknown(what_, name, names());
  }
  /// In the order in which they were added.
  std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const auto& [name, value] : all_) list.push_back(name);
    return list;
  }

 private:
  std::string what_;
  std::vector<std::pair<std::string, T>> all_;
};

}  // namespace lockstep
