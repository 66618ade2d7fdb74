// A network as data: what a model yaml says, with its size (depth, width) already applied.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace tenfold {

/// A model yaml that cannot be read, or that describes no network. The message names file, layer and key.
struct ModelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Decides which loss and which post-processing belong to a network's heads.
enum class Family { v5, v8, v10 };

/// The name of a family as yamls and users write it ("v8").
std::string_view to_string(Family family);

/// One layer of the network. Its position in the list is its number in parameter names (`model.<number>.…`).
struct LayerSpec {
  std::string block;        ///< name of the block: "Conv", "C2f", "Concat", "Detect", …
  std::vector<int> inputs;  ///< numbers of earlier layers whose outputs it takes; -1 is the image
  int channels = 0;         ///< output channels after width scaling; 0 where the block derives them
  int repeats = 1;          ///< inner repetitions after depth scaling
  std::map<std::string, std::vector<double>> options;  ///< the block's other keys: numbers, true being 1; lists in one

  bool operator==(const LayerSpec&) const = default;
};

struct ModelSpec {
  std::string name;  ///< "yolov8n", or the stem of the user's file with its size
  Family family = Family::v8;
  std::vector<LayerSpec> layers;
  std::string yaml;  ///< the text it was read from; with `size` it gives this network again
  std::string size;  ///< empty where the text decides by itself
  std::string source;      ///< what error messages call the text: the path of its file
  std::vector<int> lines;  ///< of each layer in the text, from 1; empty where that is not known
};

/// A layer as error messages call it: "mine.yaml:31: layer 11 (Concat)".
std::string layer_in_text(const ModelSpec& spec, size_t number);

/// Loads a network by the path of a model yaml, or by built-in name ("yolov8n", …; ".yaml" may follow).
/// Where a file lists several `sizes`, its key `size` chooses one, or the last letter of a path that itself does not
/// exist: "minex.yaml" is size x of "mine.yaml". Throws ModelError, with what was meant where that can be guessed.
ModelSpec load_model_spec(const std::string& arch_or_path);

/// Parses the text of a model yaml. `size` may be empty where the text decides by itself; `source` is what error
/// messages call the text. Throws ModelError.
ModelSpec parse_model_spec(const std::string& yaml, const std::string& size, const std::string& source);

/// Whether both describe one network, wherever their texts lie, whatever they are called, and however they are written.
bool same_network(const ModelSpec& a, const ModelSpec& b);

/// Names that `load_model_spec` knows without a file, in catalogue order.
std::vector<std::string> built_in_models();

}  // namespace tenfold
