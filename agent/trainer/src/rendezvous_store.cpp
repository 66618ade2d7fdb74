#include "rendezvous_store.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "descriptor.h"
#include "exit_code.h"

namespace tenfold {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kConnectRetry = std::chrono::milliseconds(10);
/// That one address may take to answer: of several the next is tried, and a host that starts is asked anew.
constexpr auto kConnectLimit = std::chrono::seconds(1);

struct AddrInfo {
  addrinfo* list = nullptr;
  ~AddrInfo() {
    if (list != nullptr) ::freeaddrinfo(list);
  }
};

/// 0, or what went wrong. A packet that a firewall drops would have connect() itself wait for minutes.
int connect_within(const Descriptor& socket, const addrinfo& to, std::chrono::milliseconds limit) {
  if (socket.fd() < 0) return errno;
  if (::connect(socket.fd(), to.ai_addr, to.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd waited{socket.fd(), POLLOUT, 0};
  const int ready = ::poll(&waited, 1, static_cast<int>(limit.count()));
  if (ready < 0) return errno;
  if (ready == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof(error);
  return ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

std::optional<std::string> numeric(const sockaddr* address, socklen_t size) {
  char text[NI_MAXHOST] = {};
  if (::getnameinfo(address, size, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) != 0) return std::nullopt;
  return std::string(text);
}

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
    const Descriptor socket(::socket(candidate->ai_family, candidate->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, candidate->ai_protocol));
    sockaddr_storage own{};
    socklen_t size = sizeof(own);
    if (const int error = connect_within(socket, *candidate, kConnectLimit); error != 0) {
      problem = std::strerror(error);
    } else if (::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&own), &size) == 0) {
      return numeric(reinterpret_cast<sockaddr*>(&own), size);
    }
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

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "::1" || address == "localhost"; }

/// The first address of this host that others may reach; nothing where it has none.
std::optional<std::string> outward_address() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    const bool usable = (each->ifa_flags & IFF_UP) != 0 && (each->ifa_flags & IFF_LOOPBACK) == 0;
    if (usable && each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_INET) return numeric(each->ifa_addr, sizeof(sockaddr_in));
  }
  return std::nullopt;
}

/// Where ranks of other hosts reach this one. Debian gives a host's own name the address 127.0.1.1, which is each host itself.
std::string reachable(std::string own, const Rendezvous& rendezvous) {
  const bool has_others = rendezvous.local_world_size < rendezvous.world_size && !is_loopback(rendezvous.address);
  return has_others && is_loopback(own) ? outward_address().value_or(own) : own;
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
  std::string own = reachable(wait_for_listener(rendezvous, deadline), rendezvous);
  if (!server) store = make_store(rendezvous, false);
  return {of_generation(rendezvous, std::move(store)), std::move(own)};
}

c10::intrusive_ptr<c10d::Store> connect_to_store(const Rendezvous& rendezvous) {
  return of_generation(rendezvous, make_store(rendezvous, false));
}

}  // namespace tenfold
