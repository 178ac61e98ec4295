// Which data set, and how it is read.
#include <CLI/CLI.hpp>
#include <charconv>

#include "core/error.h"
#include "launch/cli/options/options.h"
#include "launch/cli/options/trained.h"

namespace lockstep::cli {

void add_reading_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Data");
  verb.add_option(
          "--resize", options.resize,
          "Resize images (bilinear, with antialiasing): image files as much of the middle as has these proportions, "
          "others by stretching; with SHORTER the middle of all after bringing the shorter side to SHORTER")
      ->type_name("SIDE|HxW|SIDE:SHORTER");
  verb.add_option("--channels", options.channels, "Of image files: 3, or 1 for grey")->capture_default_str();
  verb.add_flag("--channels-first", options.channels_first,
                "Arrays of images are [N, C, H, W], as PyTorch has them, and not [N, H, W, C]");
  verb.add_option("--on-corrupt", options.on_corrupt, "What to do at image files that cannot be decoded")
      ->type_name(alternatives(on_corrupt_names()))
      ->capture_default_str();
  add_run_option(verb, options.computing, "workers");
}

void add_data_options(CLI::App& verb, Options& options) {
  add_reading_options(verb, options);
  verb.add_option("--data", options.data,
                  "Embedded digits, a folder in MNIST's or CIFAR's format, folders of JPEG and PNG files (one a "
                  "class), NumPy's "
                  "arrays, a file that pack wrote, or generated random images")
      ->type_name(alternatives(data_forms()))
      ->capture_default_str();
  verb.add_flag(
      "--cache", options.cache,
      "Keep decoded image files in memory, a byte a value, so that later epochs do not decode them again; not "
      "with --augment resized_crop, which takes another part each time");
  verb.add_option("--validation-split", options.validation_split,
                  "Hold out this share (0 to 1) of the training images for validation: each by a hash of its name (or "
                  "number) and --seed, so that it stays where it is when others come, and about this share of all and "
                  "of each class. stratified:SHARE holds out exactly so many of each class, but for rounding; a new "
                  "image then moves at most one other of its class")
      ->type_name("SHARE|stratified:SHARE");
}

void add_pack_options(CLI::App& verb, Options& options) {
  verb.add_option("DATA", options.data, "As --data of train")->required()->type_name(alternatives(data_forms()));
  verb.add_option("OUT", options.out, "The file to write")->required()->type_name("FILE");
}

void add_info_options(CLI::App& verb, Options& options) {
  verb.add_option("ACTION", options.action, "info: sizes, classes, mean, corrupt files, hash")->type_name("info");
  verb.add_option("DATA", options.data, "As --data of train")->required()->type_name(alternatives(data_forms()));
}

namespace {

/// "0.1", or "stratified:0.1".
void parse_split(const std::string& text, DataOptions& options) {
  constexpr std::string_view stratified = "stratified:";
  options.stratified = text.starts_with(stratified);
  const std::string_view share = std::string_view(text).substr(options.stratified ? stratified.size() : 0);
  const char* end = share.data() + share.size();
  const auto [stopped, error] = std::from_chars(share.data(), end, options.validation_split);
  if (error != std::errc{} || stopped != end)
    throw InputError("--validation-split is '{}', expected a share such as 0.1, or stratified:0.1", text);
}

}  // namespace

DataOptions data_options(const Options& options, const Runtime& runtime) {
  const int workers = options.computing.workers;
  runtime.check_threads("--workers", std::max(workers, 1), std::max(workers, 1));
  DataOptions chosen{.resize = options.resize,
                     .normalise = options.normalise,
                     .channels = options.channels,
                     .channels_first = options.channels_first,
                     .on_corrupt = options.on_corrupt,
                     .seed = options.computing.seed,
                     .workers = workers > 0 ? workers : runtime.cores(),
                     .cache = options.cache};
  if (!options.run.empty() && options.resize.empty()) chosen.preparation = run_preparation(options.run);
  if (!options.validation_split.empty()) parse_split(options.validation_split, chosen);
  return chosen;
}

}  // namespace lockstep::cli
