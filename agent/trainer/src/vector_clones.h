#pragma once

/// Before a function: compiled for several instruction sets where the loader can choose among them at start.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TENFOLD_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define TENFOLD_VECTOR_CLONES
#endif
