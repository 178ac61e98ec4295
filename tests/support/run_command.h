// Runs a program as a user does, from a shell, and keeps what it said. Any thread.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

#include "core/error.h"

namespace lockstep::test {

struct Outcome {
  int code = -1;     // the exit status; 128 + the signal where one ended the shell, as shells themselves say it
  std::string text;  // stdout and stderr

  bool says(const std::string& part) const { return text.find(part) != std::string::npos; }
  /// How often `part` occurs, overlaps included.
  size_t count(const std::string& part) const {
    size_t found = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
  }
  /// What follows `start` on its line; empty where it does not occur.
  std::string line_after(const std::string& start) const {
    const size_t at = text.find(start);
    return at == std::string::npos ? "" : text.substr(at + start.size(), text.find('\n', at) - at - start.size());
  }
};

/// Runs the shell's `command` to its end. Throws Error where no shell can be started.
inline Outcome run_command(const std::string& command) {
  // In braces: the redirection holds for every part of a list or pipeline.
  std::FILE* pipe = ::popen(("{ " + command + "\n} 2>&1").c_str(), "r");
  if (!pipe) throw Error("cannot run '{}'", command);
  Outcome outcome;
  std::array<char, 4096> buffer{};
  while (const size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) outcome.text.append(buffer.data(), got);
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

}  // namespace lockstep::test
