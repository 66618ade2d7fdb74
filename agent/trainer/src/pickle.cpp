#include "pickle.h"

#include <map>

#include "pickle_calls.h"
#include "pickle_input.h"

namespace tenfold {
namespace {

// Bounds far above any checkpoint: those of the largest networks have tens of thousands of values, some hundred thousand
// references to them, and remember a few thousand. Without bounds an instruction of one byte could keep another copy of
// all that came before it; within them everything together stays below a gigabyte.
constexpr size_t kMaxBytes = size_t{64} << 20U;
constexpr size_t kMaxValues = 1'000'000;           // also on the stack, remembered, and of open marks
constexpr size_t kMaxReferences = 4 * kMaxValues;  // that containers and arguments have to values
constexpr size_t kMaxTextBytes = 2 * kMaxBytes;    // of all texts, bytes and names, with the copies that calls make
constexpr size_t kMaxClassName = 1000;             // bytes, with the module

/// Instructions, as pickletools names them.
enum class Op : uint8_t {
  mark = '(', stop = '.', pop = '0', pop_mark = '1', dup = '2',
  float_text = 'F', int_text = 'I', binint = 'J', binint1 = 'K', long_text = 'L', binint2 = 'M', none = 'N',
  persid = 'P', binpersid = 'Q', reduce = 'R', string_text = 'S', binstring = 'T', short_binstring = 'U',
  unicode_text = 'V', binunicode = 'X', append = 'a', build = 'b', global = 'c', dict = 'd', empty_dict = '}',
  appends = 'e', get = 'g', binget = 'h', inst = 'i', long_binget = 'j', list = 'l', empty_list = ']', obj = 'o',
  put = 'p', binput = 'q', long_binput = 'r', setitem = 's', tuple = 't', empty_tuple = ')', setitems = 'u',
  binfloat = 'G', binbytes = 'B', short_binbytes = 'C',
  proto = 0x80, newobj = 0x81, ext1 = 0x82, ext2 = 0x83, ext4 = 0x84, tuple1 = 0x85, tuple2 = 0x86, tuple3 = 0x87,
  newtrue = 0x88, newfalse = 0x89, long1 = 0x8a, long4 = 0x8b, short_binunicode = 0x8c, binunicode8 = 0x8d,
  binbytes8 = 0x8e, empty_set = 0x8f, additems = 0x90, frozenset = 0x91, newobj_ex = 0x92, stack_global = 0x93,
  memoize = 0x94, frame = 0x95, bytearray8 = 0x96, next_buffer = 0x97, readonly_buffer = 0x98,
};

[[noreturn]] void exceeds(size_t most, const std::string& what) {
  throw PickleError("more than " + std::to_string(most) + " " + what);
}

/// What a value keeps beyond itself. Numbers of a tensor's sizes are few.
struct Kept {
  size_t references = 0;
  size_t text_bytes = 0;
};

size_t text_bytes(const PickleGlobal& name) { return name.module.size() + name.name.size(); }

Kept kept_by(const PickleValue& value) {
  if (const auto* text = value.as<std::string>()) return {.text_bytes = text->size()};
  if (const auto* bytes = value.as<PickleBytes>()) return {.text_bytes = bytes->bytes.size()};
  if (const auto* list = value.as<PickleList>()) return {.references = list->items.size()};
  if (const auto* tuple = value.as<PickleTuple>()) return {.references = tuple->items.size()};
  if (const auto* dict = value.as<PickleDict>()) return {.references = 2 * dict->entries.size()};
  if (const auto* global = value.as<PickleGlobal>()) return {.text_bytes = text_bytes(*global)};
  if (const auto* record = value.as<PickleRecord>())
    return {.references = record->arguments.size(), .text_bytes = text_bytes(record->type)};
  if (const auto* storage = value.as<PickleStorage>()) return {.text_bytes = storage->type.size() + storage->key.size()};
  return {};
}

/// Python's stack machine, without its calls.
class Machine {
 public:
  explicit Machine(std::span<const uint8_t> bytes) : input_(bytes) {}

  Pickle run() {
    for (;;) {
      const auto op = static_cast<Op>(input_.byte());
      if (op == Op::stop) break;
      if (!scalar(op) && !container(op) && !object(op) && !stack(op)) unknown(op);
    }
    pickle_.root = pop();
    return std::move(pickle_);
  }

 private:
  [[noreturn]] static void unknown(Op op) {
    damaged("instruction " + std::to_string(static_cast<int>(op)) + " is unknown, or of no use in a file");
  }

  // --- The stack ---
  template <typename T>
  PickleRef make(T data) {
    if (pickle_.values.size() >= kMaxValues) exceeds(kMaxValues, "values");
    pickle_.values.push_back({std::move(data)});
    keep(kept_by(pickle_.values.back()));
    return &pickle_.values.back();
  }
  /// Everything that was made stays until the end, also what nothing refers to any more.
  void keep(Kept more) {
    kept_.references += more.references;
    kept_.text_bytes += more.text_bytes;
    if (kept_.references > kMaxReferences) exceeds(kMaxReferences, "references to values");
    if (kept_.text_bytes > kMaxTextBytes) exceeds(kMaxTextBytes, "bytes of text");
  }
  template <typename T>
  void push(T data) {
    push_ref(make(std::move(data)));
  }
  void push_ref(PickleRef value) {
    // References cost nothing to write, but every one takes memory here.
    if (stack_.size() >= kMaxValues) throw PickleError("its stack is too deep");
    stack_.push_back(value);
  }
  void mark() {
    if (marks_.size() >= kMaxValues) exceeds(kMaxValues, "open marks");
    marks_.push_back(stack_.size());
  }
  size_t bottom() const { return marks_.empty() ? 0 : marks_.back(); }
  PickleRef pop() {
    if (stack_.size() <= bottom()) damaged("its stack is empty");
    const PickleRef value = stack_.back();
    stack_.pop_back();
    return value;
  }
  PickleRef top() const {
    if (stack_.size() <= bottom()) damaged("its stack is empty");
    return stack_.back();
  }
  PickleItems pop_to_mark() {
    if (marks_.empty()) damaged("a mark is missing");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    PickleItems items(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return items;
  }
  PickleItems pop_items(size_t count) {
    PickleItems items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }
  static PickleEntries in_pairs(const PickleItems& items) {
    if (items.size() % 2 != 0) damaged("a key without a value");
    PickleEntries entries;
    for (size_t i = 0; i < items.size(); i += 2) entries.emplace_back(items[i], items[i + 1]);
    return entries;
  }
  void remember(uint64_t index) {
    memo_[index] = top();
    if (memo_.size() > kMaxValues) exceeds(kMaxValues, "remembered values");
  }
  void recall(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) damaged("it refers to a value that was not remembered");
    push_ref(found->second);
  }

  // --- Instructions, by kind; each says whether it knew `op` ---
  bool scalar(Op op);
  bool container(Op op);
  bool object(Op op);
  bool stack(Op op);

  void push_int_line() {
    const std::string_view line = input_.line();
    if (line == "00" || line == "01")
      push(line == "01");
    else
      push(number_in<int64_t>(line));
  }
  void push_long_line() {
    std::string_view line = input_.line();
    if (line.ends_with('L')) line.remove_suffix(1);
    push(number_in<int64_t>(line));
  }
  /// Two's complement, least significant byte first. What is too large for an int64_t becomes a double.
  void push_long(uint64_t size) {
    const std::string_view bytes = input_.text(size);
    const bool negative = !bytes.empty() && (static_cast<uint8_t>(bytes.back()) & 0x80U) != 0;
    if (bytes.size() <= sizeof(int64_t)) {
      uint64_t value = negative ? ~uint64_t{0} : 0;
      for (size_t i = bytes.size(); i-- > 0;) value = value << 8U | static_cast<uint8_t>(bytes[i]);
      push(static_cast<int64_t>(value));
      return;
    }
    double value = negative ? -1 : 0;
    for (size_t i = bytes.size(); i-- > 0;) value = value * 256 + static_cast<uint8_t>(bytes[i]);
    push(value);
  }
  void push_string_line() {
    std::string_view line = input_.line();
    if (line.size() < 2 || (line[0] != '\'' && line[0] != '"') || line.back() != line[0]) damaged("a text without quotes");
    push(std::string(line.substr(1, line.size() - 2)));
  }
  void push_bytes(uint64_t size) { push(PickleBytes{std::string(input_.text(size))}); }
  void push_text(uint64_t size) { push(std::string(input_.text(size))); }

  void append(const PickleItems& items) {
    const PickleRef target = top();
    PickleItems* list = nullptr;
    if (auto* plain = target->as<PickleList>()) list = &plain->items;
    if (auto* record = target->as<PickleRecord>()) list = &record->items;
    if (list == nullptr) damaged("it appends to what is no list");
    keep({.references = items.size()});
    list->insert(list->end(), items.begin(), items.end());
  }
  void set_items(const PickleEntries& entries) {
    const PickleRef target = top();
    PickleEntries* dict = nullptr;
    if (auto* plain = target->as<PickleDict>()) dict = &plain->entries;
    if (auto* record = target->as<PickleRecord>()) dict = &record->entries;
    if (dict == nullptr) damaged("it sets items of what is no dict");
    keep({.references = 2 * entries.size()});
    dict->insert(dict->end(), entries.begin(), entries.end());
  }

  /// The name of a class or function is copied into every object and looked up at every call.
  PickleRef make_global(std::string_view module, std::string_view name) {
    if (module.size() + name.size() > kMaxClassName) exceeds(kMaxClassName, "bytes in the name of a class");
    return make(PickleGlobal{std::string(module), std::string(name)});
  }
  void push_stack_global() {
    const PickleRef name = pop(), module = pop();
    const auto* name_text = name->as<std::string>();
    const auto* module_text = module->as<std::string>();
    if (name_text == nullptr || module_text == nullptr) damaged("a class without a name");
    push_ref(make_global(*module_text, *name_text));
  }
  void push_persistent(PickleRef id) { push(storage_of(*id)); }

  /// callable(*arguments): one of the calls that are known, or refused.
  void call(PickleRef callable, const PickleItems& arguments) { push(carry_out(*callable, arguments)); }

  /// cls.__new__(cls, *arguments) of a class that is only a name: a record.
  void construct(PickleRef type, const PickleItems& arguments) {
    const auto* name = type->as<PickleGlobal>();
    if (name == nullptr) damaged("it makes an object of what is no class");
    if (name->full() == "collections.OrderedDict")
      push(PickleDict{});
    else
      push(PickleRecord{.type = *name, .arguments = arguments});
  }
  void construct_from_tuple(PickleRef type, PickleRef arguments) {
    const auto* tuple = arguments->as<PickleTuple>();
    if (tuple == nullptr) damaged("arguments that are no tuple");
    construct(type, tuple->items);
  }
  void call_with_tuple() {
    const PickleRef arguments = pop(), callable = pop();
    const auto* tuple = arguments->as<PickleTuple>();
    if (tuple == nullptr) damaged("arguments that are no tuple");
    call(callable, tuple->items);
  }
  /// State of containers and tensors (hooks, metadata) says nothing about weights.
  void build() {
    const PickleRef state = pop();
    if (auto* record = top()->as<PickleRecord>()) record->state = state;
  }

  PickleInput input_;
  Pickle pickle_;
  PickleItems stack_;
  std::vector<size_t> marks_;
  std::map<uint64_t, PickleRef> memo_;  // no hash: the file chooses the numbers
  Kept kept_;                           // by all values
};

bool Machine::scalar(Op op) {
  switch (op) {
    case Op::none: push(PickleNone{}); return true;
    case Op::newtrue: push(true); return true;
    case Op::newfalse: push(false); return true;
    case Op::int_text: push_int_line(); return true;
    case Op::binint: push(int64_t{input_.little<int32_t>()}); return true;
    case Op::binint1: push(int64_t{input_.byte()}); return true;
    case Op::binint2: push(int64_t{input_.little<uint16_t>()}); return true;
    case Op::long_text: push_long_line(); return true;
    case Op::long1: push_long(input_.byte()); return true;
    case Op::long4: push_long(input_.little<uint32_t>()); return true;
    case Op::float_text: push(number_in<double>(input_.line())); return true;
    case Op::binfloat: push(input_.big_double()); return true;
    case Op::string_text: push_string_line(); return true;
    case Op::unicode_text: push(std::string(input_.line())); return true;
    case Op::short_binstring: push_text(input_.byte()); return true;
    case Op::binstring: push_text(input_.little<uint32_t>()); return true;
    case Op::short_binunicode: push_text(input_.byte()); return true;
    case Op::binunicode: push_text(input_.little<uint32_t>()); return true;
    case Op::binunicode8: push_text(input_.little<uint64_t>()); return true;
    case Op::short_binbytes: push_bytes(input_.byte()); return true;
    case Op::binbytes: push_bytes(input_.little<uint32_t>()); return true;
    case Op::binbytes8: push_bytes(input_.little<uint64_t>()); return true;
    case Op::bytearray8: push_bytes(input_.little<uint64_t>()); return true;
    default: return false;
  }
}

bool Machine::container(Op op) {
  switch (op) {
    case Op::empty_list: push(PickleList{}); return true;
    case Op::empty_tuple: push(PickleTuple{}); return true;
    case Op::empty_dict: push(PickleDict{}); return true;
    case Op::empty_set: push(PickleList{}); return true;
    case Op::list: push(PickleList{pop_to_mark()}); return true;
    case Op::frozenset: push(PickleList{pop_to_mark()}); return true;
    case Op::tuple: push(PickleTuple{pop_to_mark()}); return true;
    case Op::tuple1: push(PickleTuple{pop_items(1)}); return true;
    case Op::tuple2: push(PickleTuple{pop_items(2)}); return true;
    case Op::tuple3: push(PickleTuple{pop_items(3)}); return true;
    case Op::dict: push(PickleDict{in_pairs(pop_to_mark())}); return true;
    case Op::append: append(pop_items(1)); return true;
    case Op::appends: append(pop_to_mark()); return true;
    case Op::additems: append(pop_to_mark()); return true;
    case Op::setitem: set_items(in_pairs(pop_items(2))); return true;
    case Op::setitems: set_items(in_pairs(pop_to_mark())); return true;
    default: return false;
  }
}

bool Machine::object(Op op) {
  switch (op) {
    case Op::global: {
      const std::string_view module = input_.line();
      push_ref(make_global(module, input_.line()));
      return true;
    }
    case Op::stack_global: push_stack_global(); return true;
    case Op::persid: push_persistent(make(std::string(input_.line()))); return true;
    case Op::binpersid: push_persistent(pop()); return true;
    case Op::reduce: call_with_tuple(); return true;
    case Op::newobj: {
      const PickleRef arguments = pop();
      construct_from_tuple(pop(), arguments);
      return true;
    }
    case Op::newobj_ex: {
      pop();  // keyword arguments
      const PickleRef arguments = pop();
      construct_from_tuple(pop(), arguments);
      return true;
    }
    case Op::inst: {
      const std::string_view module = input_.line();
      const std::string_view name = input_.line();
      const PickleItems arguments = pop_to_mark();
      call(make_global(module, name), arguments);
      return true;
    }
    case Op::obj: {
      const PickleItems items = pop_to_mark();
      if (items.empty()) damaged("an object without a class");
      call(items.front(), {items.begin() + 1, items.end()});
      return true;
    }
    case Op::build: build(); return true;
    default: return false;
  }
}

bool Machine::stack(Op op) {
  switch (op) {
    case Op::mark: mark(); return true;
    case Op::pop:
      // Python takes a mark off where one is on top.
      if (!marks_.empty() && marks_.back() == stack_.size())
        marks_.pop_back();
      else
        pop();
      return true;
    case Op::pop_mark: pop_to_mark(); return true;
    case Op::dup: push_ref(top()); return true;
    case Op::put: remember(number_in<uint64_t>(input_.line())); return true;
    case Op::binput: remember(input_.byte()); return true;
    case Op::long_binput: remember(input_.little<uint32_t>()); return true;
    case Op::memoize: remember(memo_.size()); return true;
    case Op::get: recall(number_in<uint64_t>(input_.line())); return true;
    case Op::binget: recall(input_.byte()); return true;
    case Op::long_binget: recall(input_.little<uint32_t>()); return true;
    case Op::proto: {
      constexpr uint8_t kNewestProtocol = 5;
      if (input_.byte() > kNewestProtocol) damaged("a protocol that is not known");
      return true;
    }
    case Op::frame: input_.little<uint64_t>(); return true;  // a hint for buffered reading
    default: return false;
  }
}

}  // namespace

PickleRef PickleValue::find(std::string_view key) const {
  const auto* dict = as<PickleDict>();
  if (dict == nullptr) return nullptr;
  // The last one counts, as it would in Python.
  for (size_t i = dict->entries.size(); i-- > 0;) {
    const auto* text = dict->entries[i].first->as<std::string>();
    if (text != nullptr && *text == key) return dict->entries[i].second;
  }
  return nullptr;
}

Pickle read_pickle(std::span<const uint8_t> bytes) {
  if (bytes.size() > kMaxBytes) throw PickleError("larger than any checkpoint's: " + std::to_string(bytes.size()) + " bytes");
  return Machine(bytes).run();
}

}  // namespace tenfold
