#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <cstdlib>

#include "collective_backend.h"
#include "stall_watch.h"

namespace tenfold {

void add_gloo(c10d::ProcessGroup& group, const MeetingPoint& meeting, const Rendezvous& rendezvous,
              const std::vector<c10::DeviceType>& devices) {
  auto options = c10d::ProcessGroupGloo::Options::create(rendezvous.timeout);
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  options->devices.push_back(interface != nullptr && *interface != '\0'
                                 ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                 : c10d::ProcessGroupGloo::createDeviceForHostname(meeting.own_address));
  const auto store = c10::make_intrusive<c10d::PrefixStore>("gloo", meeting.store);
  const auto gloo =
      c10::make_intrusive<c10d::ProcessGroupGloo>(store, rendezvous.rank, rendezvous.world_size, options);
  // Through the base class: the derived one's inline code would use Gloo's headers, which may be of another version.
  c10d::Backend& backend = *gloo;
  backend.setTimeout(rendezvous.timeout + StallWatch::backend_slack());
  for (const c10::DeviceType device : devices) group.setBackend(device, c10d::ProcessGroup::GLOO, gloo);
  group.setDefaultBackend(c10d::ProcessGroup::GLOO);
}

}  // namespace tenfold
