// Files of pictures by the endings of their names.
#pragma once

#include <filesystem>
#include <string>

namespace tenfold {

/// "jpg" for "A.JPG"; empty where there is no ending.
std::string format_by_name(const std::filesystem::path& file);

/// Whether pictures of the format are read: JPEG, PNG, WebP.
bool is_format_read(const std::string& format);

/// Whether it is one that people have beside those: to take fewer pictures than they think without a word would mislead
/// them.
bool is_format_left_out(const std::string& format);

}  // namespace tenfold
