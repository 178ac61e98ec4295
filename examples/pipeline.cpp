// A model too deep for one rank: each stage has some of the layers, and the lanes of a batch go through the stages one
// after the other. Alone, or under mpirun with as many ranks as places:   example_pipeline [STRATEGY]
#include <cstdio>

#include "launch/lockstep.h"

using namespace lockstep;

int main(int argc, char** argv) {
  Runtime runtime;
  return runtime.guard([&] {
    const Data digits = prepare_data("digits", {.resize = "16"}).data;
    Symbol x = Input({16, 16, 1});
    for (int block = 0; block < 6; ++block)
      x = ReLU()(
          BatchNormalization({.momentum = 0.8F})(Conv2D(16, {3, 3}, {.padding = Padding::same, .use_bias = false})(x)));
    x = Dense(10, {.activation = Activation::softmax})(GlobalAveragePooling2D()(x));

    // "data=2,stage=2": two pipelines of two stages. The bits are those of one rank.
    RunOptions run{.batch = 64, .lanes = 8, .seed = 1, .strategy = parse_strategy(argc > 1 ? argv[1] : "stage=2")};
    run.strategy.schedule = PipelineSchedule::one_f_one_b;
    Model model(Network("deep", x), runtime);
    model.compile({.optimizer = Adam{.lr = 0.005F}});
    const std::string table = model.plan(run, "layers");
    model.fit(digits.train, {.epochs = 4, .run = run});
    const Evaluation result = model.evaluate(digits.test, run);
    if (runtime.rank() == 0)
      std::printf("%s\ntest accuracy %.2f %%\nweights sha256 %s\n", table.c_str(), 100 * result.accuracy,
                  model.weights_sha256().c_str());
  });
}
