// LibTorch's key-value store asks for the name of every address that it connects to or is connected from, for its log alone,
// and serves nobody meanwhile. Where no name server answers that is five seconds and more for each rank, longer than some
// limits of time. So in this program no address has a name: this getnameinfo is called in place of the C library's, by
// shared libraries too, for a program's own symbols come first.
#include <dlfcn.h>
#include <netdb.h>
#include <sys/socket.h>

extern "C" int getnameinfo(const sockaddr* address, socklen_t address_size, char* host, socklen_t host_size, char* service,
                           socklen_t service_size, int flags) {
  using Original = decltype(&::getnameinfo);
  static const auto original = reinterpret_cast<Original>(::dlsym(RTLD_NEXT, "getnameinfo"));
  if (original == nullptr) return EAI_SYSTEM;
  return original(address, address_size, host, host_size, service, service_size, flags | NI_NUMERICHOST);
}
