// docs/reference.md lists what there is: it is made from the code here, and must be as it is made.
// LOCKSTEP_TEST_UPDATE=1 writes it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "launch/data/feed/augment.h"
#include "layers/ops.h"
#include "layers/optimizers/optimizer.h"
#include "layers/optimizers/schedule.h"
#include "layers/zoo/zoo.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/source_files.h"

namespace lockstep::test {
namespace {

/// A layer's options with their defaults, as in JSON models.
class Options final : public Fields {
 public:
  void field(std::string_view key, int64_t& value, bool required) override {
    add(key, fmt::to_string(value), required);
  }
  void field(std::string_view key, Size2& value, bool required) override {
    add(key, value[0] == value[1] ? fmt::to_string(value[0]) : fmt::format("{}", value), required);
  }
  void field(std::string_view key, std::vector<int64_t>& value, bool required) override {
    add(key, fmt::format("{}", value), required);
  }
  void field(std::string_view key, float& value, bool required) override {
    add(key, fmt::format("{:g}", value), required);
  }
  void field(std::string_view key, bool& value, bool required) override { add(key, fmt::to_string(value), required); }
  void field(std::string_view key, std::optional<float>& value) override {
    add(key, value ? fmt::format("{:g}", *value) : "null", false);
  }
  void field(std::string_view key, Regularizer&) override { add(key, "null", false); }
  void field(std::string_view key, Padding& value) override {
    add(key, value == Padding::same ? "same" : "valid", false);
  }

  std::string text;

 protected:
  void choose(std::string_view key, int& index, std::span<const std::string> names, bool required) override {
    add(key, names[static_cast<size_t>(index)], required);
  }

 private:
  void add(std::string_view key, const std::string& value, bool required) {
    text += fmt::format("{}`{}`{}", text.empty() ? "" : ", ", key, required ? "" : " " + value);
  }
};

template <class Class>
std::string row() {
  Class layer{};
  Options options;
  layer.describe(options);
  return fmt::format("| `{}` | {} |\n", layer.type(), options.text.empty() ? "none" : options.text);
}

std::string quoted(const std::vector<std::string>& names) { return fmt::format("`{}`\n", fmt::join(names, "`, `")); }

std::string optimizers() {
  std::string text = "| optimizer | its options |\n|---|---|\n";
  for (const std::string& name : Optimizer::names()) {
    std::string options;
    Optimizer::from_name(name).options([&](const std::string& option, auto value) {
      options += fmt::format("{}`{}` {:g}", options.empty() ? "" : ", ", option, static_cast<double>(value));
    });
    text += fmt::format("| `{}` | {} |\n", name, options);
  }
  return text;
}

std::string losses() {
  std::string text = "| loss | its options | the network ends in |\n|---|---|---|\n";
  for (const std::string& name : Loss::names()) {
    const Loss loss(name);
    const std::string options = loss.str().substr(loss.name().size());
    text += fmt::format("| `{}` |{} | {} |\n", name, options.empty() ? " none" : options,
                        loss.end().empty() ? "any layer" : loss.end() + ", or `from_logits`");
  }
  return text;
}

/// As completion for fish has them, which is ours from end to end: how help looks depends on the version of CLI11.
std::string commands() {
  std::string text, last;
  std::istringstream lines(run_command(binary_dir() + "/lockstep completion fish").text);
  const auto between = [](const std::string& line, const std::string& begin, const std::string& end) {
    const size_t at = line.find(begin);
    return at == std::string::npos
               ? ""
               : line.substr(at + begin.size(), line.find(end, at + begin.size()) - at - begin.size());
  };
  for (std::string line; std::getline(lines, line);) {
    const std::string command = between(line, "-n '__fish_seen_subcommand_from ", "'");
    const std::string option = between(line, " -l ", " ");
    std::string help = between(line, " -d '", "'");
    std::ranges::replace(help, '`', '\'');  // as fish has it within quotes
    if (command.empty() || option.empty() || option == "help") continue;
    if (command != last) text += fmt::format("\n### {}\n\n| option | what it is |\n|---|---|\n", command);
    last = command;
    text += fmt::format("| `--{}` | {} |\n", option, help);
  }
  return text;
}

std::string reference() {
  std::string text =
      "# Reference\n\nThis page is made from the program (`LOCKSTEP_TEST_UPDATE=1 build/reference_test`); a test "
      "compares "
      "the two.\n\n## Layers\n\nOptions as in JSON models, with their defaults; those without one must be given.\n\n"
      "| layer | options |\n|---|---|\n" +
      row<Input>();
#define LOCKSTEP_LAYER(Class) text += row<Class>();
#include "layers/list.inc"
  text += "\n## Models\n\n" + quoted(zoo_names()) + "\n## Losses\n\n" + losses() + "\n## Metrics\n\n" +
          quoted(Metric::names()) + "\n## Optimizers\n\n" + optimizers() + "\n## Schedules of the learning rate\n\n" +
          quoted(Schedule::names()) + "\n## Augmentations\n\n" + quoted(Augmentation::forms()) +
          "\n## Commands\n\n`lockstep COMMAND --help` has types and defaults, too.\n" + commands();
  return text;
}

TEST(Reference, IsAsTheCodeMakesIt) {
  const std::string file = source_file("docs/reference.md"), made = reference();
  for (const char* part : {"| `Dense` | `units`, `activation` linear,", "`top_k_categorical_accuracy`",
                           "| `--strategy` |", "### evaluate", "| `adamw` |"})
    EXPECT_NE(made.find(part), std::string::npos) << part;
  if (std::getenv("LOCKSTEP_TEST_UPDATE")) std::ofstream(file) << made;
  std::ostringstream written;
  written << std::ifstream(file).rdbuf();
  std::istringstream expected(made), got(written.str());
  int number = 0;
  for (std::string wanted, line; std::getline(expected, wanted);) {
    ++number;
    std::getline(got, line);
    ASSERT_EQ(line, wanted) << "docs/reference.md:" << number
                            << " is not what the code makes; LOCKSTEP_TEST_UPDATE=1 build/reference_test writes it";
  }
  EXPECT_EQ(written.str().size(), made.size());
}

}  // namespace
}  // namespace lockstep::test
