#include "launch/cli/verbs.h"

namespace lockstep::cli {

std::span<const Verb> verbs() {
  static const std::vector<Verb> all{
      {.name = "train",
       .help = "Train a model and test it",
       .options = {add_model_options, add_normalise_options, add_training_options, add_optimizer_options,
                   add_schedule_options, add_run_options, add_compute_options},
       .run = train},
      {.name = "evaluate",
       .help = "Test trained weights",
       .options = {add_weights_options, add_model_options, add_normalise_options, add_run_options, add_compute_options},
       .run = evaluate},
      {.name = "summary",
       .help = "Print a model's layers, shapes and parameters",
       .options = {add_model_options},
       .run = summary},
      {.name = "plan",
       .help = "Print the planned training step: nodes, placements, memory, reductions",
       .options = {add_model_options, add_plan_options, add_optimizer_options, add_run_options},
       .run = plan},
      {.name = "topology",
       .help = "Print ranks, hosts, GPUs and links, and measure their bandwidths",
       .options = {add_rank_options},
       .run = topology},
      {.name = "pack",
       .help = "Write a data set into one file that is read fast, as --data packed:FILE",
       .options = {add_pack_options, add_reading_options},
       .run = pack},
      {.name = "data",
       .help = "Read a data set (data info DATA) and print what it holds: sizes, classes, mean, corrupt files",
       .options = {add_info_options, add_reading_options},
       .run = data},
      {.name = "version",
       .help = "Print versions of Lockstep and of all that it is linked with",
       .options = {},
       .run = version},
  };
  return all;
}

}  // namespace lockstep::cli
