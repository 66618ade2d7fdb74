#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "events.h"

namespace tenfold {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
using Metadata = std::map<std::string, std::string>;

/// Tensors with names and notes, as a safetensors file holds them (format: huggingface/safetensors, README).
struct SafeTensors {
  NamedTensors tensors;  // on the CPU, contiguous
  Metadata metadata;
};

/// A file that is not a sound safetensors file. The message names the file and what is wrong.
class SafeTensorsError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Parses a whole file's bytes; the tensors are copies. Nothing in the header is believed before it is checked: sizes,
/// overlaps, gaps, and the end of the file. `source` is what messages call the file. Throws SafeTensorsError.
SafeTensors parse_safetensors(std::span<const uint8_t> file, const std::string& source);

/// Reads and parses a file. Throws SafeTensorsError, or std::system_error when it cannot be read.
SafeTensors read_safetensors(const std::filesystem::path& file);

/// Writes a file through to the disk (fsync) and tells its size and SHA-256. Throws std::system_error.
FileDigest write_safetensors(const std::filesystem::path& file, const NamedTensors& tensors, const Metadata& metadata);

}  // namespace tenfold
