#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace tenfold {

/// The files and folders that a shell pattern (`*`, `?`, `[…]`) names, in order; none where it matches nothing. `**` as
/// a whole component is any number of folders, none included, those behind links too: "a/**/*.jpg" names every JPEG
/// below a; "a/**" and "a/**/*" name every file. As in a shell, none of them matches a name that begins with a dot.
/// Throws std::filesystem::filesystem_error where a folder below `**` cannot be read.
std::vector<std::filesystem::path> glob_files(const std::string& pattern);

}  // namespace tenfold
