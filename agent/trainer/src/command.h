// What `tenfold-trainer COMMAND` consists of: its help, its options, and what it does.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "setting.h"

namespace tenfold {

/// One option of a command. It is given as `--name value`, `--name=value` or `name=value`; `-` and `_` are the same.
struct CommandOption {
  std::string name;   ///< as help shows it: "max-det"
  std::string value;  ///< what help calls the value: "N"; empty: a switch, `--name`
  std::string text;   ///< one line
};

/// A word that users of other YOLO tools type and that is no option here.
struct RefusedOption {
  std::string name;    ///< "line-width"
  std::string advice;  ///< what to do instead, or why there is nothing to do
};

class CommandArguments;

struct Command {
  std::string name;
  std::string operands;  ///< "WEIGHTS.safetensors", as help shows them
  std::string summary;   ///< one line for the list of commands
  std::string text;      ///< what it does, for `COMMAND --help`
  std::vector<CommandOption> options;
  std::vector<RefusedOption> refused = {};
  std::vector<std::string> examples;  ///< what follows "tenfold-trainer ", perhaps with a comment
  size_t min_operands = 1;
  size_t max_operands = 1;
  bool takes_settings = false;  ///< `key=value` (or `--key value`) that is no option: the command judges the keys
  std::function<int(const CommandArguments&)> run;  ///< returns the exit status
};

/// The words after a command's name, taken apart and checked against its options.
class CommandArguments {
 public:
  /// Throws TrainerError(usage) for an unknown option (with the one that was meant, or what to do instead), one without
  /// its value, one given twice, and a wrong number of operands.
  CommandArguments(const Command& command, const std::vector<std::string>& words);

  const std::vector<std::string>& operands() const { return operands_; }
  /// In their order, with `_` for each `-` of a key.
  const std::vector<Setting>& settings() const { return settings_; }

  bool flag(const std::string& name) const;
  std::optional<std::string> text(const std::string& name) const;
  /// The value, which the command cannot do without. Throws TrainerError(usage).
  std::string required(const std::string& name) const;
  /// A whole number of low..high. Throws TrainerError(usage).
  std::optional<int> integer(const std::string& name, int low, int high) const;
  /// A number of low..high. Throws TrainerError(usage).
  std::optional<double> number(const std::string& name, double low, double high) const;

  /// An error about `option` (or, empty, about the operands) that says how to find out more.
  [[noreturn]] void fail(const std::string& option, const std::string& problem) const;

 private:
  struct Given {
    const CommandOption* option;
    std::string value;
  };
  const CommandOption* find_option(const std::string& name) const;
  const Given* find(const std::string& name) const;
  void take_option(const CommandOption& option, std::optional<std::string> value);
  void take_setting(const std::string& name, std::optional<std::string> value);
  [[noreturn]] void refuse_unknown(const std::string& word, const std::string& name) const;

  const Command& command_;
  std::vector<Given> given_;
  std::vector<std::string> operands_;
  std::vector<Setting> settings_;
};

/// What `tenfold-trainer COMMAND --help` prints.
std::string help_of(const Command& command);

/// Finds the command called `name` and runs it with `words`, or prints its help where they ask for it. Returns the exit
/// status. Throws TrainerError(usage).
int run_command(std::span<const Command> commands, const std::string& name, const std::vector<std::string>& words);

}  // namespace tenfold
