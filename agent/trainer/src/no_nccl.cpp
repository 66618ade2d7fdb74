#include "collective_backend.h"
#include "exit_code.h"

namespace tenfold {

std::string own_gpu(const at::Device&) { return "none"; }

void add_nccl(c10d::ProcessGroup&, const MeetingPoint&, const Rendezvous&) {
  throw TrainerError(ExitCode::bad_config,
                     "collective.backend: this trainer was built against a LibTorch without CUDA and has no NCCL; "
                     "use \"gloo\" or \"auto\"");
}

}  // namespace tenfold
