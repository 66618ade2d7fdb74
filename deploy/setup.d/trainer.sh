# The native trainer, built against the `libtorch` that libtorch.sh found.

trainer_build=agent/trainer/build
memory_per_compiler_mb=1500 # a file that includes LibTorch's headers

build_trainer() {
  local sources
  # The CUDA build may come to lie where the CPU's was, with the same version.
  # shellcheck disable=SC2154 # libtorch.sh sets libtorch
  sources="$(trainer_digest) $libtorch $(version_of_libtorch "$libtorch") $(build_of_libtorch "$libtorch")"
  if stamped "$trainer_build/.tenfold-setup" "$sources" "$trainer_build/tenfold-trainer"; then
    ready 'Trainer' "$trainer_build/tenfold-trainer is up to date"
    return
  fi
  forget_moved_build
  work 'Trainer' "C++ into $trainer_build, $(compile_jobs) files at a time (minutes, the first time)" \
    'the compiler says above what it does not like. Killed? Too little memory: set TENFOLD_BUILD_JOBS=1. Then run this again.' \
    compile_trainer
  stamp "$trainer_build/.tenfold-setup" "$sources"
}

compile_trainer() {
  export CCACHE_DIR=${CCACHE_DIR:-$PWD/.cache/ccache}
  # A unity build: a third of the time of one that compiles file by file.
  cmake -S agent/trainer -B "$trainer_build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTENFOLD_LIBTORCH="$libtorch" \
    -DCMAKE_UNITY_BUILD=ON -DTENFOLD_WERROR="${TENFOLD_WERROR:-OFF}"
  cmake --build "$trainer_build" --parallel "$(compile_jobs)"
}

trainer_digest() {
  digest_of agent/trainer -not -path 'agent/trainer/build*'
}

# CMake refuses a build folder that was made at another place; a checkout that was moved or copied has one.
forget_moved_build() {
  local cache=$trainer_build/CMakeCache.txt
  [ -e "$cache" ] || return 0
  grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD/agent/trainer" "$cache" || rm -rf "$trainer_build"
}

# One compiler a core, as far as the free memory goes; at least one.
compile_jobs() {
  local jobs by_memory
  jobs=${TENFOLD_BUILD_JOBS:-$(nproc)}
  by_memory=$(($(free_memory_mb) / memory_per_compiler_mb))
  [ -n "${TENFOLD_BUILD_JOBS:-}" ] || [ "$by_memory" -ge "$jobs" ] || jobs=$by_memory
  echo $((jobs > 0 ? jobs : 1))
}

# What the kernel calls available, or what is left of the container's limit if that is less.
free_memory_mb() {
  local free limit
  free=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  if [ "$limit" != max ]; then
    limit=$(((limit - $(cat /sys/fs/cgroup/memory.current)) / 1048576))
    [ "$limit" -ge "$free" ] || free=$limit
  fi
  echo "$free"
}
