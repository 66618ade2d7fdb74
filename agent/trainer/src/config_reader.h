#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace tenfold {

/// Problems of a config, each with its path.
using Problems = std::vector<std::string>;

/// Reads the fields of one JSON object. Missing fields keep their defaults, wrong ones are noted and keep them too;
/// finish() notes the fields that nobody asked for. It is a visitor for visit_arguments.
class ObjectReader {
 public:
  /// `value` may be null for "absent"; `path` is "" for the top; `example` is told where it is no object.
  ObjectReader(const nlohmann::json* value, std::string path, Problems& problems, const std::string& example = "");

  /// Refuses `name` with `advice` if it is there.
  void refuse(std::string_view name, std::string_view advice);
  void integer(const char* name, int64_t& value, int64_t low, int64_t high);
  void optional_integer(const char* name, std::optional<int64_t>& value, int64_t low, int64_t high);
  void integer_or_auto(const char* name, std::optional<int64_t>& value, int64_t low, int64_t high);
  void number(const char* name, double& value, double low, double high);
  void number_or_auto(const char* name, std::optional<double>& value, double low, double high);
  void flag(const char* name, bool& value);
  void text(const char* name, std::string& value);
  void required_text(const char* name, std::string& value);
  void optional_text(const char* name, std::optional<std::string>& value);
  void choice(const char* name, std::string& value, std::initializer_list<const char*> words,
              const char* word_for_true, const char* word_for_false);
  /// A number of images; "auto" and -1 stand for kAutoBatch.
  void batch(const char* name, int64_t& value, int64_t low, int64_t high);
  /// auto, cpu, cuda, cuda:N, or N alone for cuda:N.
  void device(const char* name, std::string& value);
  /// The first N layers as a number N, or a list of layer numbers and prefixes of parameter names.
  void layers(const char* name, std::vector<std::string>& prefixes);
  ObjectReader object(const char* name, const std::string& example = "");
  /// Whether the field is there and not null.
  bool has(const char* name) const;
  void problem(const char* name, const std::string& what);
  void finish();

 private:
  const nlohmann::json* take(const char* name);  // nullptr when absent
  std::string path_of(std::string_view name) const;

  const nlohmann::json* object_ = nullptr;
  std::string path_;
  Problems& problems_;
  std::vector<std::string> known_;
};

}  // namespace tenfold
