#include "failure.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <new>
#include <string_view>
#include <system_error>

#include "dataset.h"
#include "image.h"
#include "model_spec.h"

namespace tenfold {
namespace {

std::string with_advice(const std::string& message) {
  return message + "; use a smaller train.batch or train.imgsz, or more devices";
}

/// LibTorch has a class for the memory of its own allocators alone; else the texts decide: of the host's allocator, of cuDNN,
/// where no algorithm got its workspace, of CUDA's other libraries and of its driver.
bool tells_of_memory(const std::string& message) {
  constexpr std::array<std::string_view, 5> kTexts = {"DefaultCPUAllocator", "unable to find an engine", "STATUS_ALLOC_FAILED",
                                                      "out of memory", "cudaErrorMemoryAllocation"};
  return std::ranges::any_of(kTexts, [&](std::string_view text) { return message.find(text) != message.npos; });
}

}  // namespace

Ending failure_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const TrainerError& e) {
    return {e.code(), e.what()};
  } catch (const DataError& e) {
    return {ExitCode::bad_data, e.what()};
  } catch (const ModelError& e) {
    return {ExitCode::bad_config, e.what()};
  } catch (const c10::OutOfMemoryError& e) {
    return {ExitCode::out_of_memory, with_advice(e.what_without_backtrace())};
  } catch (const c10::AcceleratorError& e) {
    const std::string message = e.what_without_backtrace();
    if (tells_of_memory(message)) return {ExitCode::out_of_memory, with_advice(message)};
    return {ExitCode::device_error, message};
  } catch (const c10::Error& e) {
    const std::string message = e.what_without_backtrace();
    if (tells_of_memory(message)) return {ExitCode::out_of_memory, with_advice(message)};
    return {ExitCode::internal, message};
  } catch (const std::bad_alloc&) {
    return {ExitCode::out_of_memory, with_advice("out of memory")};
  } catch (const std::filesystem::filesystem_error& e) {
    return {ExitCode::io_error, e.what()};
  } catch (const std::system_error& e) {
    return {ExitCode::io_error, e.what()};
  } catch (const std::exception& e) {
    return {ExitCode::internal, e.what()};
  } catch (...) {
    return {ExitCode::internal, "an exception of an unknown kind"};
  }
}

}  // namespace tenfold
