#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace tenfold {

struct Scalar {
  std::string tag;
  double value = 0;
};

/// A file of scalars that TensorBoard shows: TFRecords, each an Event message of tensorflow/core/util/event.proto.
/// Each record is handed to the operating system whole, so that a TensorBoard that follows the file never meets a half.
class EventFile {
 public:
  /// Makes events.out.tfevents.<seconds>.<host>.<process> in `folder`. What older files of the folder say of
  /// `first_step` and beyond no longer counts: a training that is resumed goes another way than the one that was cut
  /// off. Throws std::system_error.
  EventFile(const std::filesystem::path& folder, int64_t first_step, double wall_time);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  /// `wall_time` in seconds since 1970. Throws std::system_error.
  void add(int64_t step, double wall_time, std::span<const Scalar> scalars);

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_record(const std::string& message);

  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace tenfold
