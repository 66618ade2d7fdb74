#include "failure.h"

#include <c10/util/Exception.h>

#include <filesystem>
#include <new>
#include <system_error>

#include "dataset.h"
#include "image.h"
#include "model_spec.h"

namespace tenfold {
namespace {

std::string with_advice(const std::string& message) {
  return message + "; use a smaller train.batch or train.imgsz, or more devices";
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
    return {ExitCode::device_error, e.what_without_backtrace()};
  } catch (const c10::Error& e) {
    const std::string message = e.what_without_backtrace();
    // The CPU allocator has no error class of its own.
    if (message.find("DefaultCPUAllocator") != std::string::npos) {
      return {ExitCode::out_of_memory, with_advice(message)};
    }
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
