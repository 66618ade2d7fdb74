#include "rendezvous_store.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exit_code.h"

namespace tenfold {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kConnectRetry = std::chrono::milliseconds(10);

struct AddrInfo {
  addrinfo* list = nullptr;
  ~AddrInfo() {
    if (list != nullptr) ::freeaddrinfo(list);
  }
};

/// Connects once to address:port. Returns this side's address, or nullopt with `problem` set.
std::optional<std::string> try_connect(const std::string& address, int port, std::string& problem) {
  AddrInfo found;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  const int error = ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found.list);
  if (error != 0) {
    problem = ::gai_strerror(error);
    return std::nullopt;
  }
  for (const addrinfo* candidate = found.list; candidate != nullptr; candidate = candidate->ai_next) {
    const int fd = ::socket(candidate->ai_family, candidate->ai_socktype | SOCK_CLOEXEC, candidate->ai_protocol);
    if (fd < 0) continue;
    sockaddr_storage own{};
    socklen_t size = sizeof(own);
    char text[NI_MAXHOST] = {};
    const bool good = ::connect(fd, candidate->ai_addr, candidate->ai_addrlen) == 0 &&
                      ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0 &&
                      ::getnameinfo(reinterpret_cast<sockaddr*>(&own), size, text, sizeof(text), nullptr, 0,
                                    NI_NUMERICHOST) == 0;
    if (!good) problem = std::strerror(errno);
    ::close(fd);
    if (good) return std::string(text);
  }
  return std::nullopt;
}

/// Waits until someone listens. LibTorch's own client backs off for half a second and more after a refused connection;
/// a rank 0 that starts a little later than the others would cost all of them that time.
std::string wait_for_listener(const Rendezvous& rendezvous, Clock::time_point deadline) {
  std::string problem;
  while (true) {
    if (const auto own = try_connect(rendezvous.address, rendezvous.port, problem)) return *own;
    if (Clock::now() >= deadline) {
      throw TrainerError(ExitCode::rendezvous_failed, "rank 0 does not listen on " + rendezvous.address + ":" +
                                                          std::to_string(rendezvous.port) + ": " + problem);
    }
    std::this_thread::sleep_for(kConnectRetry);
  }
}

c10::intrusive_ptr<c10d::Store> make_store(const Rendezvous& rendezvous, bool server) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(rendezvous.port);
  options.isServer = server;
  options.waitWorkers = false;
  options.timeout = rendezvous.timeout;
  return c10::make_intrusive<c10d::TCPStore>(rendezvous.address, options);
}

c10::intrusive_ptr<c10d::Store> of_generation(const Rendezvous& rendezvous, c10::intrusive_ptr<c10d::Store> store) {
  return c10::make_intrusive<c10d::PrefixStore>("generation-" + std::to_string(rendezvous.generation), std::move(store));
}

}  // namespace

MeetingPoint open_meeting_point(const Rendezvous& rendezvous) {
  const auto deadline = Clock::now() + rendezvous.timeout;
  const bool server = rendezvous.rank == 0;
  c10::intrusive_ptr<c10d::Store> store;
  if (server) store = make_store(rendezvous, true);
  std::string own = wait_for_listener(rendezvous, deadline);
  if (!server) store = make_store(rendezvous, false);
  return {of_generation(rendezvous, std::move(store)), std::move(own)};
}

c10::intrusive_ptr<c10d::Store> connect_to_store(const Rendezvous& rendezvous) {
  return of_generation(rendezvous, make_store(rendezvous, false));
}

}  // namespace tenfold
