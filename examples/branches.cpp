// Two branches that a concatenation joins, each on a rank of its own. Alone, or under mpirun -np 2:   example_branches
#include <cstdio>

#include "launch/lockstep.h"

using namespace lockstep;

int main() {
  Runtime runtime;
  return runtime.guard([&] {
    const Data digits = prepare_data("digits", {.resize = "16"}).data;
    const auto branch = [](Symbol x, int64_t kernel, const std::string& name) {
      for (int i = 0; i < 3; ++i)
        x = Conv2D(16, {kernel, kernel}, {.padding = Padding::same, .activation = Activation::relu})
                .named(fmt::format("{}{}", name, i))(x);
      return x;
    };
    const Symbol image = Input({16, 16, 1});
    Symbol x = Concatenate()({branch(image, 3, "fine"), branch(image, 5, "coarse")});
    x = Dense(10, {.activation = Activation::softmax})(GlobalAveragePooling2D()(x));

    RunOptions run{.batch = 64, .lanes = 8, .seed = 1, .strategy = parse_strategy("stage=2")};
    run.strategy.pins = {{.layers = "coarse*", .place = {}, .stage = 1}};  // what joins them follows
    Model model(Network("branches", x), runtime);
    model.compile({.optimizer = Adam{.lr = 0.005F}});
    model.fit(digits.train, {.epochs = 6, .run = run});
    const Evaluation result = model.evaluate(digits.test, run);
    if (runtime.rank() == 0)
      std::printf("test accuracy %.2f %%\nweights sha256 %s\n", 100 * result.accuracy, model.weights_sha256().c_str());
  });
}
