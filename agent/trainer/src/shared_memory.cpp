#include "shared_memory.h"

#include <ATen/ATen.h>

#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tenfold {
namespace {

/// Random, at the end of the pages: two containers may have a process and a file of the same numbers.
using Token = std::array<int64_t, 2>;

class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  ~OpenFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

/// Where the other ranks find this one's pages: /proc/PROCESS/fd/FILE.
struct Offer {
  int64_t process = -1;  // none: this rank has no pages
  int64_t file = -1;
  Token token{};
};

constexpr int64_t kOfferWords = 4;

size_t with_token(size_t bytes) { return (bytes + alignof(Token) - 1) / alignof(Token) * alignof(Token) + sizeof(Token); }

std::byte* token_of(const SharedPages& pages) { return pages.bytes().data() + pages.bytes().size() - sizeof(Token); }

/// A file in memory of so many bytes, all of which are there: one that could not be had later would kill the process.
int reserved_memory(size_t bytes) {
  const auto size = static_cast<off_t>(bytes);
  const int fd = ::memfd_create("tenfold-gradients", MFD_CLOEXEC);
  // The first refuses at once what this host can never give; the second would take all that there is before it refuses.
  if (fd >= 0 && (::ftruncate(fd, size) != 0 || ::posix_fallocate(fd, 0, size) != 0)) {
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

/// Nobody's pages where the file cannot be had: the other ranks must hear of that.
Offer offer_of(const OpenFile& file, size_t bytes) {
  Token token;
  if (file.fd() < 0 || ::getrandom(token.data(), sizeof(token), 0) != sizeof(token)) return {};
  const auto place = static_cast<off_t>(bytes - sizeof(token));
  if (::pwrite(file.fd(), token.data(), sizeof(token), place) != sizeof(token)) return {};
  return {own_process(), file.fd(), token};
}

std::vector<Offer> offers_of_all(c10d::ProcessGroup& group, const Offer& own) {
  const at::Tensor words = at::tensor({own.process, own.file, own.token[0], own.token[1]}, at::kLong);
  std::vector<at::Tensor> sent{words};
  std::vector<std::vector<at::Tensor>> received(1);
  for (int rank = 0; rank < group.getSize(); ++rank) received[0].push_back(at::empty({kOfferWords}, at::kLong));
  group.allgather(received, sent)->wait();
  std::vector<Offer> offers;
  for (const at::Tensor& each : received[0]) {
    const auto word = each.accessor<int64_t, 1>();
    offers.push_back({word[0], word[1], {word[2], word[3]}});
  }
  return offers;
}

/// Null where there are no such pages.
std::unique_ptr<const SharedPages> take(const Offer& offer, size_t bytes, bool own) {
  const std::string path = "/proc/" + std::to_string(offer.process) + "/fd/" + std::to_string(offer.file);
  // On another host or in another container it may be anything, and some things do something when they are opened.
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return nullptr;
  if (status.st_size != static_cast<off_t>(bytes)) return nullptr;
  const OpenFile file(::open(path.c_str(), (own ? O_RDWR : O_RDONLY) | O_CLOEXEC));
  if (file.fd() < 0) return nullptr;
  auto pages = SharedPages::map(file.fd(), bytes, own ? PROT_READ | PROT_WRITE : PROT_READ);
  if (!pages || std::memcmp(token_of(*pages), offer.token.data(), sizeof(Token)) != 0) return nullptr;
  return pages;
}

/// Nothing where one rank's pages cannot be had here.
SharedMemory::Parts take_all(const std::vector<Offer>& offers, int own, size_t bytes) {
  SharedMemory::Parts parts;
  for (const Offer& offer : offers) {
    parts.push_back(take(offer, bytes, parts.size() == static_cast<size_t>(own)));
    if (!parts.back()) return {};
  }
  return parts;
}

bool on_all_ranks(c10d::ProcessGroup& group, bool here) {
  std::vector<at::Tensor> flag{at::full({1}, here ? 1 : 0, at::kInt)};
  c10d::AllreduceOptions options;
  options.reduceOp = c10d::ReduceOp::MIN;
  group.allreduce(flag, options)->wait();
  return flag[0].item<int>() != 0;
}

}  // namespace

std::unique_ptr<const SharedPages> SharedPages::map(int file, size_t bytes, int protection) {
  void* const mapped = ::mmap(nullptr, bytes, protection, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) return nullptr;
  return std::unique_ptr<const SharedPages>(new SharedPages(static_cast<std::byte*>(mapped), bytes));
}

SharedPages::~SharedPages() { ::munmap(data_, size_); }

std::unique_ptr<SharedMemory> SharedMemory::open(c10d::ProcessGroup& group, size_t bytes) {
  const size_t whole = with_token(bytes);
  const OpenFile file(reserved_memory(whole));
  const std::vector<Offer> offers = offers_of_all(group, offer_of(file, whole));
  Parts parts = take_all(offers, group.getRank(), whole);
  // Only when all have come so far may the file be closed.
  if (!on_all_ranks(group, !parts.empty())) return nullptr;
  return std::make_unique<SharedMemory>(std::move(parts), group.getRank(), bytes);
}

}  // namespace tenfold
