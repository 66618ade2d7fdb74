#include "collective_backend.h"
#include "exit_code.h"

namespace tenfold {

bool has_nccl() { return false; }

bool ranks_share_a_gpu(const MeetingPoint&, const Rendezvous&) { return false; }

void add_nccl(c10d::ProcessGroup&, const MeetingPoint&, const Rendezvous&) {
  throw TrainerError(ExitCode::bad_config,
                     "collective.backend: this trainer was built against a LibTorch without CUDA and has no NCCL; "
                     "use \"gloo\" or \"auto\"");
}

}  // namespace tenfold
