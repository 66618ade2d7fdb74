# Finds LibTorch and offers it as the target `tenfold::libtorch`.
#
#   TENFOLD_LIBTORCH   the `torch` folder of a Python installation, or an unpacked libtorch
#
# sets TENFOLD_TORCH_VERSION, TENFOLD_WITH_CUDA and TENFOLD_TORCH_RPATH. The libraries are named by hand instead of by
# find_package(Torch): a CUDA wheel's CMake files ask for nvcc, which nothing here needs (there are no .cu files), and one
# recipe serves both builds.

set(TENFOLD_MINIMUM_TORCH 2.13)
set(TENFOLD_LIBTORCH "" CACHE PATH "The torch folder of a Python installation, or an unpacked libtorch")

if(NOT TENFOLD_LIBTORCH AND DEFINED ENV{TENFOLD_LIBTORCH})
  set(TENFOLD_LIBTORCH "$ENV{TENFOLD_LIBTORCH}")
endif()
if(NOT TENFOLD_LIBTORCH)
  message(FATAL_ERROR
    "Where is LibTorch? Configure with -DTENFOLD_LIBTORCH=FOLDER: the torch folder of a Python installation, "
    "as printed by `python3 -c 'import torch; print(torch.__path__[0])'`, or an unpacked libtorch. "
    "`deploy/setup` installs one and passes it here.")
endif()
get_filename_component(TENFOLD_LIBTORCH "${TENFOLD_LIBTORCH}" ABSOLUTE)
if(NOT EXISTS "${TENFOLD_LIBTORCH}/include/ATen/ATen.h")
  message(FATAL_ERROR "${TENFOLD_LIBTORCH} is not a LibTorch folder: it has no include/ATen/ATen.h.")
endif()

# --- Version ---------------------------------------------------------------------------------------------------------
set(TENFOLD_TORCH_VERSION "")
foreach(header torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(NOT TENFOLD_TORCH_VERSION AND EXISTS "${TENFOLD_LIBTORCH}/include/${header}")
    file(READ "${TENFOLD_LIBTORCH}/include/${header}" text)
    foreach(part MAJOR MINOR PATCH)
      if(text MATCHES "TORCH_VERSION_${part} ([0-9]+)")
        list(APPEND numbers "${CMAKE_MATCH_1}")
      endif()
    endforeach()
    list(JOIN numbers "." TENFOLD_TORCH_VERSION)
  endif()
endforeach()
if(NOT TENFOLD_TORCH_VERSION OR TENFOLD_TORCH_VERSION VERSION_LESS TENFOLD_MINIMUM_TORCH)
  message(FATAL_ERROR
    "LibTorch ${TENFOLD_TORCH_VERSION} in ${TENFOLD_LIBTORCH} is too old: ${TENFOLD_MINIMUM_TORCH} or newer is needed. "
    "`pip install torch==2.13.0` in a virtual environment gives one.")
endif()

# --- Target ----------------------------------------------------------------------------------------------------------
add_library(tenfold_libtorch INTERFACE)
add_library(tenfold::libtorch ALIAS tenfold_libtorch)
set(torch_lib "${TENFOLD_LIBTORCH}/lib")
set(TENFOLD_TORCH_RPATH "${torch_lib}")
target_include_directories(tenfold_libtorch SYSTEM INTERFACE
  "${TENFOLD_LIBTORCH}/include" "${TENFOLD_LIBTORCH}/include/torch/csrc/api/include")
target_compile_definitions(tenfold_libtorch INTERFACE USE_DISTRIBUTED USE_C10D_GLOO USE_RPC USE_TENSORPIPE)
set(libraries "${torch_lib}/libtorch.so" "${torch_lib}/libtorch_cpu.so" "${torch_lib}/libc10.so")

if(EXISTS "${torch_lib}/libtorch_cuda.so")
  set(TENFOLD_WITH_CUDA ON)
  get_filename_component(site_packages "${TENFOLD_LIBTORCH}" DIRECTORY)
  file(GLOB nvidia_includes "${site_packages}/nvidia/*/include")
  file(GLOB nvidia_libs "${site_packages}/nvidia/*/lib")
  find_path(CUDA_RUNTIME_INCLUDE cuda_runtime_api.h HINTS ${nvidia_includes} PATHS /usr/local/cuda/include NO_CACHE)
  find_path(CUDA_CRT_INCLUDE crt/host_config.h HINTS ${nvidia_includes} PATHS /usr/local/cuda/include NO_CACHE)
  find_path(CUDA_CCCL_INCLUDE nv/target HINTS ${nvidia_includes} PATHS /usr/local/cuda/include PATH_SUFFIXES cccl NO_CACHE)
  find_path(NCCL_INCLUDE nccl.h HINTS ${nvidia_includes} NO_CACHE)
  find_library(CUDA_RUNTIME_LIBRARY NAMES libcudart.so.13 libcudart.so.12 libcudart.so
    HINTS ${nvidia_libs} PATHS /usr/local/cuda/lib64 NO_CACHE)
  foreach(needed CUDA_RUNTIME_INCLUDE CUDA_CRT_INCLUDE CUDA_CCCL_INCLUDE NCCL_INCLUDE CUDA_RUNTIME_LIBRARY)
    if(NOT ${needed})
      message(FATAL_ERROR
        "LibTorch in ${TENFOLD_LIBTORCH} is a CUDA build, but ${needed} was not found beside it "
        "(looked in ${site_packages}/nvidia/*): install the nvidia-cuda-runtime and nvidia-nccl wheels that it asks for, nvidia-cuda-crt and nvidia-cuda-cccl.")
    endif()
  endforeach()
  target_include_directories(tenfold_libtorch SYSTEM INTERFACE "${CUDA_RUNTIME_INCLUDE}" "${CUDA_CRT_INCLUDE}" "${CUDA_CCCL_INCLUDE}"
    "${NCCL_INCLUDE}")
  target_compile_definitions(tenfold_libtorch INTERFACE USE_C10D_NCCL TENFOLD_WITH_CUDA)
  list(APPEND libraries "${torch_lib}/libtorch_cuda.so" "${torch_lib}/libc10_cuda.so" "${CUDA_RUNTIME_LIBRARY}")
  # LibTorch's own libraries find each other by their rpath; the link editor needs to be told.
  foreach(folder ${nvidia_libs})
    target_link_options(tenfold_libtorch INTERFACE "-Wl,-rpath-link,${folder}")
  endforeach()
  list(APPEND TENFOLD_TORCH_RPATH ${nvidia_libs})
else()
  set(TENFOLD_WITH_CUDA OFF)
endif()
# Operators register themselves when these libraries load, so none may be dropped as "not needed". LibTorch exports parts of
# the C++ library that it was built with, std::filesystem among them; beside a newer one (Debian 13, Ubuntu 24.04) a mixture
# of both crashes. The library that is named first gives the symbols.
target_link_libraries(tenfold_libtorch INTERFACE -Wl,--no-as-needed stdc++ ${libraries} -Wl,--as-needed)
target_link_options(tenfold_libtorch INTERFACE "-Wl,-rpath-link,${torch_lib}")

# --- Gloo's headers --------------------------------------------------------------------------------------------------
# Gloo itself is inside libtorch_cpu, but LibTorch does not ship its headers. Debian's are older: good for the declarations
# of ProcessGroupGloo, but no class of gloo's may be constructed or derived from here.
find_path(GLOO_INCLUDE gloo/context.h HINTS "${TENFOLD_LIBTORCH}/include" NO_CACHE)
if(NOT GLOO_INCLUDE)
  message(FATAL_ERROR "Gloo's headers are missing: `apt-get install libgloo-dev`.")
endif()
target_include_directories(tenfold_libtorch SYSTEM INTERFACE "${GLOO_INCLUDE}")

message(STATUS "LibTorch ${TENFOLD_TORCH_VERSION} (CUDA: ${TENFOLD_WITH_CUDA}) in ${TENFOLD_LIBTORCH}")
