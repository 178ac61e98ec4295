// The safetensors format (huggingface/safetensors: 8 bytes of header length, a JSON header, then the values), which
// Python reads and writes as well. Files of 32-bit floats. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/shape.h"

namespace lockstep {

/// A tensor that lies elsewhere.
struct NamedTensor {
  std::string name;
  Shape shape;
  std::span<const float> values;
};

struct WrittenFile {
  uint64_t bytes = 0;
  std::string sha256;
};

/// Writes the tensors in their order, atomically and synced. Throws Error with the path and the system's reason.
WrittenFile write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors);

class Safetensors {
 public:
  /// `bytes` are a whole file's. Throws InputError with the file and the byte where they are truncated or malformed: a
  /// header that is no JSON object, a tensor whose place is not in the file or does not have its size.
  Safetensors(std::string file, std::vector<uint8_t> bytes);
  /// Throws InputError where the file cannot be read, too.
  static Safetensors read(const std::filesystem::path& path);

  const std::string& file() const { return file_; }
  std::vector<std::string> names() const;
  /// Throws InputError where the tensor is missing, or is not F32 of this shape; `owner` is what has that shape, such
  /// as "the model 'lenet5'".
  std::vector<float> get(const std::string& name, const Shape& shape, const std::string& owner) const;

 private:
  struct Entry {
    std::string dtype;
    std::vector<int64_t> shape;
    size_t begin = 0, end = 0;  // bytes of the file
  };
  std::string file_;
  std::vector<uint8_t> bytes_;
  std::map<std::string, Entry> entries_;
};

}  // namespace lockstep
