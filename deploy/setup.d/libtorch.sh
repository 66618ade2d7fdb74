# LibTorch for the native trainer: the one the user names, the one that python3 has, or one of the checkout's own.

torch_version=2.13.0                              # what is installed when there is none …
oldest_torch=2.13                                 # … and the oldest one that is taken (agent/trainer/cmake/LibTorch.cmake)
torch_venv=.cache/libtorch
cpu_index=https://download.pytorch.org/whl/cpu    # PyTorch's own index of CPU builds: PyPI's are for CUDA, and ten times the size
libtorch=''                                       # set below: the folder that the trainer is built against

find_or_install_libtorch() {
  if [ -n "${TENFOLD_LIBTORCH:-}" ]; then
    take_named_libtorch
  elif take_libtorch "$(torch_of_python3)" "python3's torch"; then
    :
  elif take_libtorch "$(torch_of_venv)" ''; then
    :
  else
    install_libtorch
    libtorch=$(realpath "$(torch_of_venv)")
  fi
}

take_named_libtorch() {
  local hint="let TENFOLD_LIBTORCH name the torch folder of a Python installation (one that has include/ and lib/) or an unpacked libtorch, or unset it."
  [ -n "$(version_of_libtorch "$TENFOLD_LIBTORCH")" ] ||
    fail 'LibTorch' "TENFOLD_LIBTORCH=$TENFOLD_LIBTORCH is not a LibTorch folder" "$hint"
  take_libtorch "$TENFOLD_LIBTORCH" TENFOLD_LIBTORCH ||
    fail 'LibTorch' "TENFOLD_LIBTORCH has version $(version_of_libtorch "$TENFOLD_LIBTORCH"), and $oldest_torch or newer is needed" "$hint"
}

# take_libtorch FOLDER WHENCE: uses it if it is one, and new enough.
take_libtorch() {
  local folder=$1 whence=$2 version
  version=$(version_of_libtorch "$folder")
  [ -n "$version" ] || return 1
  if ! at_least "$version" "$oldest_torch"; then
    note "$whence in $folder is $version: too old, passed over"
    return 1
  fi
  if [ "$whence" != TENFOLD_LIBTORCH ] && [ -z "${TENFOLD_TORCH_INDEX:-}" ] && is_cpu_build_beside_gpu "$folder"; then
    note "${whence:+$whence in }$folder is a CPU build, and a GPU is here: passed over (TENFOLD_LIBTORCH=$folder takes it)"
    return 1
  fi
  libtorch=$(realpath "$folder")
  ready 'LibTorch' "$version for $(build_of_libtorch "$libtorch")${whence:+, $whence}, in ${libtorch#"$PWD/"}"
}

# Found without importing it, which would take seconds.
torch_of_python3() {
  python3 -c 'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")' 2>/dev/null || true
}

# pip writes RECORD last: a venv without it was interrupted.
torch_of_venv() {
  local record
  for record in "$torch_venv"/lib/python3*/site-packages/torch-*.dist-info/RECORD; do
    [ ! -e "$record" ] || echo "${record%/torch-*}/torch"
  done
}

# version_of_libtorch FOLDER: "2.13.0", or nothing when it is no complete LibTorch.
version_of_libtorch() {
  local header
  [ -e "$1/lib/libtorch_cpu.so" ] || return 0
  for header in "$1/include/torch/headeronly/version.h" "$1/include/torch/csrc/api/include/torch/version.h"; do
    [ -e "$header" ] || continue
    sed -n 's/^#define TORCH_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9]*\).*/\2/p' "$header" | paste -sd.
    return
  done
}

build_of_libtorch() { if [ -e "$1/lib/libtorch_cuda.so" ]; then echo CUDA; else echo CPU; fi; }

# at_least VERSION MINIMUM
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n1)" = "$2" ]; }

has_gpu() { nvidia-smi -L 2>/dev/null | grep -q '^GPU '; }

is_cpu_build_beside_gpu() { [ "$(build_of_libtorch "$1")" = CPU ] && has_gpu; }

install_libtorch() {
  local build='CPU build' kind=cpu
  if has_gpu; then build='CUDA build' kind=cuda; fi
  [ -z "${TENFOLD_TORCH_INDEX:-}" ] || build="from $TENFOLD_TORCH_INDEX" kind=named
  work 'LibTorch' "torch $torch_version ($build), by pip into $torch_venv" \
    'see whether pip reaches its index, name another with TENFOLD_TORCH_INDEX, or a LibTorch that is there with TENFOLD_LIBTORCH.' \
    "pip_install_torch_$kind"
}

pip_install_torch_named() { make_venv && pip_install --index-url "$TENFOLD_TORCH_INDEX" "torch==$torch_version"; }

pip_install_torch_cuda() { make_venv && pip_install "torch==$torch_version" && pip_install_cuda_headers; }

# Headers of CUDA that torch's wheels do not bring, of the runtime's version: cuda_runtime.h and cuda_fp16.h include them.
pip_install_cuda_headers() {
  local runtime
  runtime=$("$torch_venv/bin/python" -c 'from importlib.metadata import version; print(".".join(version("nvidia-cuda-runtime").split(".")[:2]))')
  pip_install --no-deps "nvidia-cuda-crt==$runtime.*" "nvidia-cuda-cccl==$runtime.*"
}

# A CPU build comes alone: LibTorch needs none of torch's Python dependencies. What pip's own index has is tried first (it may be a
# mirror), then PyTorch's; where neither can be reached the build for CUDA does too.
pip_install_torch_cpu() {
  make_venv
  pip_install --no-deps "torch==$torch_version+cpu" ||
    pip_install --no-deps --index-url "$cpu_index" "torch==$torch_version+cpu" ||
    pip_install "torch==$torch_version"
}

make_venv() {
  rm -rf "$torch_venv"
  python3 -m venv "$torch_venv"
}

pip_install() {
  "$torch_venv/bin/python" -m pip install --no-cache-dir --no-input --disable-pip-version-check --retries 2 "$@"
}
