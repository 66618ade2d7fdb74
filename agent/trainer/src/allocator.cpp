#include "allocator.h"

#include <climits>  // any header of the C library defines __GLIBC__

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace tenfold {

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);              // large blocks come from the heap, where they can be reused
  mallopt(M_TRIM_THRESHOLD, INT_MAX);  // and the heap does not shrink between two steps
#endif
}

}  // namespace tenfold
