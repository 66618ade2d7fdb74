#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace tenfold {

/// The least of what /proc/meminfo calls available and what the control groups (version 1 or 2) of this process leave;
/// memory that only caches files counts as available. `root` is where proc and sys are mounted.
int64_t available_host_bytes(const std::filesystem::path& root = "/");

/// The number of the line of `file` that begins with the word `key`, such as "MemAvailable:   123 kB", in its own unit.
std::optional<int64_t> number_in_line(const std::filesystem::path& file, const std::string& key);

}  // namespace tenfold
