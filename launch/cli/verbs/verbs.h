// The commands of the program. One file a verb, in this folder; each runs on every rank, and throws what it fails with.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace CLI {
class App;
}
namespace lockstep {
class Runtime;
}

namespace lockstep::cli {

struct Options;

void train(const Options& options, Runtime& runtime);
void evaluate(const Options& options, Runtime& runtime);
void predict(const Options& options, Runtime& runtime);
void export_model(const Options& options, Runtime& runtime);
void summary(const Options& options, Runtime& runtime);
void plan(const Options& options, Runtime& runtime);
void topology(const Options& options, Runtime& runtime);
void selftest(const Options& options, Runtime& runtime);
void pack(const Options& options, Runtime& runtime);
void data(const Options& options, Runtime& runtime);
void version(const Options& options, Runtime& runtime);
void completion(const Options& options, Runtime& runtime);

/// "lockstep 0.1.0 (git …, Release build)"
std::string version_line();

/// A command as the user gives it: `lockstep NAME OPTIONS`.
struct Verb {
  std::string name;  // one word, or two where the first names a group of verbs
  std::string help;
  std::vector<std::string> examples;  // without the program's name; at least one
  std::vector<void (*)(CLI::App&, Options&)> options;
  void (*run)(const Options&, Runtime&);
};

/// All, in the order of the help.
std::span<const Verb> verbs();

/// Makes `program` know all verbs and their options, which it then writes into `options`.
void add_verbs(CLI::App& program, Options& options);

}  // namespace lockstep::cli
