#include "published_vectors.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <optional>

#include "safetensors.h"

namespace tenfold::testing {

using nlohmann::json;
namespace fs = std::filesystem;

fs::path vectors_folder() {
  if (const char* folder = std::getenv("TENFOLD_VECTORS")) return folder;
  return (fs::path(TENFOLD_FIXTURES) / "../../../shared/reference/vectors").lexically_normal();
}

static json read_manifest(const fs::path& path) {
  std::ifstream file(path);
  return json::parse(file, nullptr, /*allow_exceptions=*/false);
}

/// What a json of the folder is about; nothing where it names no files of vectors.
static std::optional<Kind> kind_of(const json& manifest) {
  if (manifest.is_discarded()) return Kind::unknown;  // not even JSON
  if (!manifest.is_object() || !manifest.contains("files")) return std::nullopt;
  if (manifest.contains("family")) return Kind::model;
  return manifest.contains("map") ? Kind::postprocessing : Kind::unknown;
}

std::vector<fs::path> manifests(Kind kind) {
  std::vector<fs::path> found;
  if (!fs::is_directory(vectors_folder())) return found;
  for (const auto& entry : fs::recursive_directory_iterator(vectors_folder()))
    if (entry.path().extension() == ".json" && kind_of(read_manifest(entry.path())) == kind)
      found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

/// It may hold letters, digits and lines below.
std::string case_name(const ::testing::TestParamInfo<fs::path>& info) {
  auto name = info.param.lexically_relative(vectors_folder()).replace_extension().string();
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

Vectors load(const fs::path& path, const at::Device& device) {
  Vectors vectors{read_manifest(path), {}, {}};
  const auto& files = vectors.manifest.at("files");
  const auto read = [&](const char* key) {
    Tensors tensors;
    for (const auto& [name, value] : read_safetensors(path.parent_path() / files.at(key).get<std::string>()).tensors)
      tensors.emplace(name, value.to(device));
    return tensors;
  };
  if (files.contains("weights")) vectors.weights = read("weights");
  vectors.tensors = read("vectors");
  return vectors;
}

}  // namespace tenfold::testing
