// What reads bytes that anyone may have made, each as one function of the bytes. Used by libFuzzer (fuzzer.cpp) and by
// a test that needs no such tool (tests/fuzz/fuzz_test.cpp). One thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lockstep::fuzz {

using Bytes = std::vector<uint8_t>;

struct Target {
  std::string name;
  /// Reads the bytes; refusing them with InputError is right, all else that is thrown is a mistake.
  void (*read)(std::span<const uint8_t> bytes);
  /// Sound inputs to begin with.
  std::vector<Bytes> (*seeds)();
};

std::span<const Target> targets();
/// Runs it, and lets InputError pass.
void run(const Target& target, std::span<const uint8_t> bytes);

}  // namespace lockstep::fuzz
