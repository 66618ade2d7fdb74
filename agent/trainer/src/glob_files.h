#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace tenfold {

/// The files and folders that a shell pattern (`*`, `?`, `[…]`) names, in order; none where it matches nothing.
std::vector<std::filesystem::path> glob_files(const std::string& pattern);

}  // namespace tenfold
