#include "command.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>

#include "exit_code.h"
#include "suggestion.h"

namespace tenfold {
namespace {

/// Options are the same with `-` and `_`: YOLO users write max_det, and --max-det.
std::string option_key(std::string_view name) {
  std::string key(name);
  std::replace(key.begin(), key.end(), '_', '-');
  return key;
}

/// The part before `=` of `name=value`, where it looks like a name and not like a path. Those of settings may have dots.
std::optional<std::string> name_before_equals(const std::string& word, bool dots) {
  const size_t equals = word.find('=');
  if (equals == 0 || equals == std::string::npos) return std::nullopt;
  const bool is_name = std::all_of(word.begin(), word.begin() + static_cast<std::ptrdiff_t>(equals), [dots](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || (dots && c == '.');
  });
  if (!is_name) return std::nullopt;
  return word.substr(0, equals);
}

template <typename Number>
std::optional<Number> parse_whole(const std::string& text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

std::string shown_option(const CommandOption& option) {
  return "--" + option.name + (option.value.empty() ? "" : " " + option.value);
}

}  // namespace

CommandArguments::CommandArguments(const Command& command, const std::vector<std::string>& words) : command_(command) {
  bool only_operands = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (only_operands || word.size() < 2) {
      operands_.push_back(word);
    } else if (word == "--") {
      only_operands = true;
    } else if (word.starts_with("--")) {
      const size_t equals = word.find('=');
      const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
      const CommandOption* option = find_option(name);
      if (option == nullptr && !command.takes_settings) refuse_unknown("--" + name, name);
      std::optional<std::string> value;
      if (equals != std::string::npos)
        value = word.substr(equals + 1);
      else if ((option == nullptr || !option->value.empty()) && i + 1 < words.size())
        value = words[++i];
      if (option == nullptr)
        take_setting(name, std::move(value));
      else
        take_option(*option, std::move(value));
    } else if (word[0] == '-') {
      refuse_unknown(word, word.substr(1));
    } else if (const auto name = name_before_equals(word, command.takes_settings)) {
      const CommandOption* option = find_option(*name);
      if (option != nullptr)
        take_option(*option, word.substr(name->size() + 1));
      else if (command.takes_settings)
        take_setting(*name, word.substr(name->size() + 1));
      else
        refuse_unknown(*name, *name);
    } else {
      operands_.push_back(word);
    }
  }
  if (operands_.size() < command.min_operands) fail("", "needs " + command.operands);
  if (operands_.size() > command.max_operands) fail("", "does not take `" + operands_[command.max_operands] + "`");
}

const CommandOption* CommandArguments::find_option(const std::string& name) const {
  const auto found = std::find_if(command_.options.begin(), command_.options.end(),
                                  [key = option_key(name)](const CommandOption& option) { return option.name == key; });
  return found == command_.options.end() ? nullptr : &*found;
}

const CommandArguments::Given* CommandArguments::find(const std::string& name) const {
  const auto found =
      std::find_if(given_.begin(), given_.end(), [&](const Given& given) { return given.option->name == name; });
  return found == given_.end() ? nullptr : &*found;
}

void CommandArguments::take_option(const CommandOption& option, std::optional<std::string> value) {
  if (find(option.name) != nullptr) fail(option.name, "is given twice");
  if (option.value.empty()) {
    if (value && *value != "true" && *value != "false") fail(option.name, "is a switch and takes no value");
    if (value && *value == "false") return;
  } else if (!value || value->empty()) {
    fail(option.name, "needs a value: " + shown_option(option));
  }
  given_.push_back({&option, value.value_or("")});
}

void CommandArguments::take_setting(const std::string& name, std::optional<std::string> value) {
  if (!value) fail(name, "needs a value: " + name + "=…");
  std::string key = name;
  std::replace(key.begin(), key.end(), '-', '_');
  settings_.push_back({std::move(key), std::move(*value)});
}

void CommandArguments::refuse_unknown(const std::string& word, const std::string& name) const {
  const std::string key = option_key(name), no_option = "has no option `" + word + "`";
  for (const RefusedOption& refused : command_.refused)
    if (refused.name == key) fail("", no_option + ": " + refused.advice);
  if ((key == "model" || key == "weights") && command_.min_operands > 0)
    fail("", no_option + ": " + command_.operands + " is the first word, as in `tenfold-trainer " +
                 command_.examples.front() + "`");
  std::vector<std::string> known;
  for (const CommandOption& option : command_.options) known.push_back(option.name);
  fail("", no_option + suggestion(key, known));
}

bool CommandArguments::flag(const std::string& name) const { return find(name) != nullptr; }

std::optional<std::string> CommandArguments::text(const std::string& name) const {
  const Given* given = find(name);
  if (given == nullptr) return std::nullopt;
  return given->value;
}

std::string CommandArguments::required(const std::string& name) const {
  const auto value = text(name);
  if (!value) fail("", "needs " + shown_option(*find_option(name)));
  return *value;
}

std::optional<int> CommandArguments::integer(const std::string& name, int low, int high) const {
  const auto given = text(name);
  if (!given) return std::nullopt;
  const auto value = parse_whole<int>(*given);
  if (!value || *value < low || *value > high)
    fail(name, "must be a whole number of " + std::to_string(low) + " to " + std::to_string(high) + ", not " + *given);
  return value;
}

std::optional<double> CommandArguments::number(const std::string& name, double low, double high) const {
  const auto given = text(name);
  if (!given) return std::nullopt;
  const auto value = parse_whole<double>(*given);
  if (!value || !(*value >= low && *value <= high))
    fail(name, "must be a number of " + short_number(low) + " to " + short_number(high) + ", not " + *given);
  return value;
}

void CommandArguments::fail(const std::string& option, const std::string& problem) const {
  const std::string subject = option.empty() ? command_.name : "--" + option;
  throw TrainerError(ExitCode::usage,
                     subject + " " + problem + "\nTry `tenfold-trainer " + command_.name + " --help`.");
}

std::string help_of(const Command& command) {
  std::string help = "usage: tenfold-trainer " + command.name + (command.operands.empty() ? "" : " " + command.operands) +
                     (command.options.empty() ? "" : " [options]") + "\n\n" + command.text + "\n";
  if (!command.options.empty()) {
    help += "\noptions (`--name value` or `name=value`):\n";
    for (const CommandOption& option : command.options) {
      std::string left = "  " + shown_option(option);
      left.resize(std::max<size_t>(left.size() + 2, 28), ' ');
      help += left + option.text + "\n";
    }
  }
  help += "\nexamples:\n";
  for (const std::string& example : command.examples) help += "  tenfold-trainer " + example + "\n";
  return help;
}

int run_command(std::span<const Command> commands, const std::string& name, const std::vector<std::string>& words) {
  const auto found =
      std::find_if(commands.begin(), commands.end(), [&](const Command& command) { return command.name == name; });
  if (found == commands.end()) {
    std::vector<std::string> known;
    for (const Command& command : commands) known.push_back(command.name);
    throw TrainerError(ExitCode::usage, "unknown command `" + name + "`" + suggestion(name, known) +
                                            "\nTry `tenfold-trainer --help`.");
  }
  for (const std::string& word : words) {
    if (word == "--") break;
    if (word != "--help" && word != "-h") continue;
    std::fputs(help_of(*found).c_str(), stdout);
    return 0;
  }
  return found->run(CommandArguments(*found, words));
}

}  // namespace tenfold
