#include "event_file.h"

#include <array>
#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <unistd.h>

#include "crc32c.h"
#include "file_io.h"
#include "protobuf_wire.h"

namespace tenfold {
namespace {

// Field numbers of Event, SessionLog, Summary and Summary.Value.
constexpr int kEventWallTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5, kEventSessionLog = 7;
constexpr int kSessionStatus = 1, kSummaryValue = 1, kValueTag = 1, kValueSimple = 2;
constexpr int kSessionStart = 1;

template <typename Bits>
std::string little_endian(Bits bits) {
  std::string bytes;
  for (size_t i = 0; i < sizeof(Bits); ++i) bytes.push_back(static_cast<char>(bits >> (8 * i) & 0xFFU));
  return bytes;
}

/// A sum of bytes that hold sums themselves would be weak; TFRecords mask them.
uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15U | crc << 17U) + 0xA282EAD8U;
}

std::string file_name(double wall_time) {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '-';
  std::array<char, 400> name;
  std::snprintf(name.data(), name.size(), "events.out.tfevents.%010lld.%s.%d", static_cast<long long>(wall_time),
                host.data(), static_cast<int>(::getpid()));
  return name.data();
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& folder, int64_t first_step, double wall_time)
    : path_(folder / file_name(wall_time)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) throw_io_error("writing", path_);
  write_record(ProtobufWriter().fixed64(kEventWallTime, wall_time).string(kEventFileVersion, "brain.Event:2").data());
  write_record(ProtobufWriter()
                   .fixed64(kEventWallTime, wall_time)
                   .varint(kEventStep, first_step)
                   .message(kEventSessionLog, ProtobufWriter().varint(kSessionStatus, kSessionStart))
                   .data());
}

EventFile::~EventFile() { ::close(fd_); }

void EventFile::add(int64_t step, double wall_time, std::span<const Scalar> scalars) {
  ProtobufWriter summary;
  for (const Scalar& scalar : scalars) {
    summary.message(kSummaryValue,
                    ProtobufWriter().string(kValueTag, scalar.tag).fixed32(kValueSimple, static_cast<float>(scalar.value)));
  }
  write_record(
      ProtobufWriter().fixed64(kEventWallTime, wall_time).varint(kEventStep, step).message(kEventSummary, summary).data());
}

void EventFile::write_record(const std::string& message) {
  const std::string length = little_endian(static_cast<uint64_t>(message.size()));
  const std::string record =
      length + little_endian(masked_crc(length)) + message + little_endian(masked_crc(message));
  const ssize_t written = ::write(fd_, record.data(), record.size());
  if (written != static_cast<ssize_t>(record.size())) {
    if (written >= 0) errno = ENOSPC;
    throw_io_error("writing", path_);
  }
}

}  // namespace tenfold
