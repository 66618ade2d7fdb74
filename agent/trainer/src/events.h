#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "exit_code.h"
#include "loss_items.h"

namespace tenfold {

/// The next position to be consumed: `offset` samples of epoch `epoch`'s permutation are done. Epochs count from 1.
struct Cursor {
  int64_t epoch = 1;
  int64_t offset = 0;
  auto operator<=>(const Cursor&) const = default;
};

struct MetricSummary {
  double precision = 0;
  double recall = 0;
  double map50 = 0;
  double map50_95 = 0;
};

struct FileDigest {
  std::string name;  // relative to the folder that it is told with
  int64_t bytes = 0;
  std::string sha256;
};

// --- What a rank tells, one struct an event type; meanings in test/fixtures/trainer-contract/README.md ---

struct HelloEvent {
  int rank = 0;
  int world_size = 1;
  int64_t generation = 0;
  int64_t pid = 0;
  std::string torch;
  std::string device;
  int threads = 1;
};
struct JoinedEvent {
  std::string backend;
};
struct ModelEvent {
  std::string arch;  // a built-in name, or that of the user's own file and its size
  int64_t nc = 0;
  int64_t parameters = 0;
  double gflops = 0;
  int64_t transferred = 0;  // tensors taken from model.weights
};
struct BatchEvent {  // told where it was found out by measuring
  int64_t batch = 0;         // images of one optimizer step, over all ranks
  int64_t device_batch = 0;  // images of one pass of a rank
  int64_t peak_bytes = 0;    // that such a pass was seen to take on rank 0
};
struct ResumedEvent {
  int64_t step = 0;
  Cursor cursor;
};
struct ConsumedEvent {
  int64_t epoch = 1;
  int64_t from = 0;  // positions [from, to) of the epoch's permutation, over all ranks
  int64_t to = 0;
  std::vector<int64_t> ids;  // those that this rank took, in order
};
struct StepEvent {
  int64_t epoch = 1;
  int64_t epochs = 1;
  int64_t batch = 1;  // of the epoch, from 1
  int64_t batches = 1;
  int64_t step = 0;
  int64_t offset = 0;
  LossItems loss;
  std::array<double, 3> lr{};  // by parameter group, as ParameterGroup orders them
  double images_per_s = 0;     // of this rank, since its last step event
  double data_wait_ms = 0;     // spent waiting for the loader in this step
};
struct ValEvent {
  int64_t epoch = 1;
  int64_t done = 0;  // images
  int64_t total = 0;
};
struct EpochEvent {
  int64_t epoch = 1;
  double time_s = 0;
  LossItems train;
  std::optional<LossItems> val;
  std::optional<MetricSummary> metrics;
  std::array<double, 3> lr{};
  bool best = false;
  int64_t images = 0;
  double images_per_s = 0;  // over all ranks, training alone
  int64_t corrupt_images = 0;  // training images that could not be read so far, on any rank
};
struct CheckpointEvent {
  int64_t step = 0;
  Cursor cursor;
  std::string dir;
  std::vector<FileDigest> files;
  std::optional<double> fitness;
  std::optional<double> map50;
  std::optional<double> map50_95;
};
/// One class of an evaluation.
struct ClassResult {
  std::string name;
  int64_t images = 0;  // with an object of the class
  int64_t labels = 0;
  MetricSummary metrics;  // map50 and map50_95: the class's AP
};
struct EvaluationEvent {
  int64_t epoch = 1;  // whose weights these are
  int64_t images = 0;
  int64_t labels = 0;
  double confidence = 0;  // that precision and recall are taken at
  MetricSummary metrics;
  std::vector<ClassResult> classes;  // those that have labels
};
struct WarningEvent {
  std::string code;
  std::string message;
  std::string subject;  // may be empty
};
struct ArtifactEvent {
  FileDigest file;  // name relative to run.dir
};
struct EndEvent {
  ExitCode code = ExitCode::completed;
  std::string message;
};

using Event = std::variant<HelloEvent, JoinedEvent, ModelEvent, BatchEvent, ResumedEvent, ConsumedEvent, StepEvent,
                           ValEvent, EpochEvent, EvaluationEvent, CheckpointEvent, WarningEvent, ArtifactEvent,
                           EndEvent>;

/// One NDJSON line without the line feed. `t` is Unix time in milliseconds. Numbers that are not finite become null.
std::string to_json_line(const Event& event, int64_t t);

/// Where events go. emit() may be called from any thread and does not wait for the reader.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void emit(const Event& event) = 0;
  /// Returns when all that was emitted has been handed to the operating system (where it survives this process), or
  /// when the reader is gone.
  virtual void flush() = 0;
};

/// NDJSON lines to a file descriptor, in order, each whole, from a thread of its own. A reader that went away is no
/// error here: the control descriptor tells of it.
std::unique_ptr<EventSink> ndjson_sink(int fd);

}  // namespace tenfold
