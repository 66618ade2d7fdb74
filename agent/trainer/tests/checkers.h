// The Python environment that exports and imports are compared with: see deploy/checkers.
#pragma once

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

namespace tenfold::testing {

/// Its interpreter: TENFOLD_CHECKERS, else the checkout's own.
inline std::string checkers_python() {
  const char* given = std::getenv("TENFOLD_CHECKERS");
  return given != nullptr ? given : TENFOLD_CHECKERS_PYTHON;
}

/// A path as one word of a shell's command line.
inline std::string shell_word(const std::filesystem::path& path) {
  std::string word = path.string();
  word.insert(word.begin(), '\'');
  word.push_back('\'');
  return word;
}

/// Whether it is there and has a module.
inline bool checkers_have(const std::string& module) {
  const std::string python = checkers_python();
  if (!std::filesystem::exists(python)) return false;
  return std::system((shell_word(python) + " -c 'import " + module + "' 2>/dev/null").c_str()) == 0;
}

/// Runs a script of tests/python; returns what it printed. Fails the test where it fails.
inline std::string run_checker(const std::string& script, const std::string& arguments) {
  const std::string command = shell_word(checkers_python()) + " " +
                              shell_word(std::filesystem::path(TENFOLD_TEST_PYTHON) / script) + " " + arguments;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  std::string output;
  std::array<char, 4096> buffer;
  for (size_t count; (count = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) output.append(buffer.data(), count);
  EXPECT_EQ(::pclose(pipe), 0) << command;
  return output;
}

}  // namespace tenfold::testing
