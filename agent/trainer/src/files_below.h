#pragma once

#include <filesystem>
#include <vector>

namespace tenfold {

/// All files of a folder and of the folders in it, behind links too; none that begins with a dot, and none in such a folder:
/// notebooks and Macs leave copies of pictures there (.ipynb_checkpoints/x-checkpoint.jpg, ._x.jpg). In no order. Throws
/// std::filesystem::filesystem_error where a folder cannot be read.
std::vector<std::filesystem::path> files_below(const std::filesystem::path& folder);

}  // namespace tenfold
