// Python's pickle format, read as data: https://docs.python.org/3/library/pickletools.html. A pickle is a program whose
// instructions may call any function of the process that reads it. This reader has no functions to call: it makes
// containers, numbers and texts; a class is a name, an object of it a record of the state that came with it; and the few
// calls that weights cannot be read without are carried out by code of its own. Any other call is refused by name.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tenfold {

/// A pickle that is damaged, or larger or deeper than any checkpoint.
class PickleError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A pickle that would have a function called. Nothing was called.
class RefusedCall : public PickleError {
 public:
  explicit RefusedCall(const std::string& callable)
      : PickleError("it would call " + callable + "; this reader calls nothing"), callable_(callable) {}
  const std::string& callable() const { return callable_; }

 private:
  std::string callable_;
};

struct PickleValue;
using PickleRef = PickleValue*;  ///< owned by the Pickle
using PickleItems = std::vector<PickleRef>;
using PickleEntries = std::vector<std::pair<PickleRef, PickleRef>>;

struct PickleNone {};
struct PickleBytes {
  std::string bytes;
};
struct PickleList {
  PickleItems items;
};
struct PickleTuple {
  PickleItems items;
};
struct PickleDict {
  PickleEntries entries;
};
/// The name of a class or function.
struct PickleGlobal {
  std::string module, name;
  std::string full() const { return module + "." + name; }
};
/// An object of a class that is only a name here.
struct PickleRecord {
  PickleGlobal type;
  PickleItems arguments = {};   ///< of its construction
  PickleRef state = nullptr;    ///< mostly a dict of its attributes
  PickleItems items = {};       ///< where it is a kind of list
  PickleEntries entries = {};   ///< where it is a kind of dict
};
/// A run of numbers that lies beside the pickle, in the archive.
struct PickleStorage {
  std::string type;  ///< "FloatStorage"
  std::string key;   ///< names the archive's entry
  int64_t count = 0;
};
/// A view of a storage: sizes, strides and offset in numbers of its type. Not checked against the storage's length.
struct PickleTensor {
  PickleRef storage = nullptr;
  int64_t offset = 0;
  std::vector<int64_t> sizes, strides;
};

struct PickleValue {
  std::variant<PickleNone, bool, int64_t, double, std::string, PickleBytes, PickleList, PickleTuple, PickleDict,
               PickleGlobal, PickleRecord, PickleStorage, PickleTensor>
      data;

  template <typename T>
  T* as() {
    return std::get_if<T>(&data);
  }
  template <typename T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
  /// The value of a dict's text key; null where this is no dict or has no such key.
  PickleRef find(std::string_view key) const;
};

/// What a pickle holds: its values refer to each other, in circles perhaps.
struct Pickle {
  std::deque<PickleValue> values;
  PickleRef root = nullptr;
};

/// Reads a pickle of protocol 0 to 5. Throws PickleError, RefusedCall.
Pickle read_pickle(std::span<const uint8_t> bytes);

}  // namespace tenfold
