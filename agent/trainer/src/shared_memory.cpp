#include "shared_memory.h"

#include <ATen/ATen.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"
#include "host_memory.h"

namespace tenfold {
namespace {

/// Of the memory that is free, both parts may take one in so many: well within what `batch: auto` leaves.
constexpr int64_t kShareOfMemory = 8;

/// Random, at the end of the pages: two containers may have a process and a file of the same numbers.
using Token = std::array<int64_t, 2>;

/// Where the other rank finds this one's pages: /proc/PROCESS/fd/FILE.
struct Offer {
  int64_t process = -1;  // none: this rank has no pages
  int64_t file = -1;
  Token token{};
};

constexpr int64_t kOfferWords = 4;

size_t with_token(size_t bytes) { return (bytes + alignof(Token) - 1) / alignof(Token) * alignof(Token) + sizeof(Token); }

bool has_token(const SharedPages& pages, const Token& token) {
  return std::memcmp(pages.bytes().last(sizeof(Token)).data(), token.data(), sizeof(Token)) == 0;
}

/// A file in memory of so many bytes, all of which are there: one that could not be had later would kill the process. So
/// would a control group's limit that is met here; it is asked before.
int reserved_memory(size_t bytes) {
  if (2 * static_cast<int64_t>(bytes) > available_host_bytes() / kShareOfMemory) return -1;
  const int fd = ::memfd_create("tenfold-gradients", MFD_CLOEXEC);
  if (fd >= 0 && ::posix_fallocate(fd, 0, static_cast<off_t>(bytes)) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

/// This process as /proc knows it, which may be that of another PID namespace; -1 where there is no /proc.
int64_t own_process() {
  std::error_code error;
  const std::string self = std::filesystem::read_symlink("/proc/self", error).string();
  int64_t process = -1;
  std::from_chars(self.data(), self.data() + self.size(), process);
  return process;
}

/// Nobody's pages where there is no file: the other rank must hear of that.
Offer offer_of(const Descriptor& file, size_t bytes) {
  Token token;
  if (file.fd() < 0 || ::getrandom(token.data(), sizeof(token), 0) != sizeof(token)) return {};
  const auto place = static_cast<off_t>(bytes - sizeof(token));
  if (::pwrite(file.fd(), token.data(), sizeof(token), place) != sizeof(token)) return {};
  return {own_process(), file.fd(), token};
}

/// What the other of two ranks offers.
Offer exchange(c10d::ProcessGroup& group, const Offer& own) {
  std::vector<at::Tensor> sent{at::tensor({own.process, own.file, own.token[0], own.token[1]}, at::kLong)};
  std::vector<std::vector<at::Tensor>> received{{at::empty({kOfferWords}, at::kLong), at::empty({kOfferWords}, at::kLong)}};
  group.allgather(received, sent)->wait();
  const auto word = received[0][static_cast<size_t>(1 - group.getRank())].accessor<int64_t, 1>();
  return {word[0], word[1], {word[2], word[3]}};
}

/// Null where there are no such pages.
std::unique_ptr<const SharedPages> take(const Offer& offer, size_t bytes) {
  if (offer.process < 0) return nullptr;
  const std::string path = "/proc/" + std::to_string(offer.process) + "/fd/" + std::to_string(offer.file);
  // On another host or in another container it may be anything, and some things do something when they are opened.
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return nullptr;
  if (status.st_size != static_cast<off_t>(bytes)) return nullptr;
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::unique_ptr<const SharedPages> pages = SharedPages::map(file.fd(), bytes, PROT_READ);
  return pages && has_token(*pages, offer.token) ? std::move(pages) : nullptr;
}

bool on_both(c10d::ProcessGroup& group, bool here) {
  std::vector<at::Tensor> flag{at::full({1}, here ? 1 : 0, at::kInt)};
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::MIN;
  group.allreduce(flag, options)->wait();
  return flag[0].item<int>() != 0;
}

}  // namespace

std::unique_ptr<SharedPages> SharedPages::map(int file, size_t bytes, int protection) {
  void* const mapped = ::mmap(nullptr, bytes, protection, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) return nullptr;
  return std::unique_ptr<SharedPages>(new SharedPages(static_cast<std::byte*>(mapped), bytes));
}

SharedPages::~SharedPages() { ::munmap(data_, size_); }

std::unique_ptr<SharedMemory> SharedMemory::open(c10d::ProcessGroup& group, size_t bytes, bool wanted) {
  const size_t whole = with_token(bytes);
  const Descriptor file(wanted ? reserved_memory(whole) : -1);
  const Offer offer = exchange(group, offer_of(file, whole));
  auto own = SharedPages::map(file.fd(), whole, PROT_READ | PROT_WRITE);
  auto others = take(offer, whole);
  // Only when both have come so far may the file be closed.
  if (!on_both(group, own && others)) return nullptr;
  return std::make_unique<SharedMemory>(std::move(own), std::move(others), bytes);
}

}  // namespace tenfold
