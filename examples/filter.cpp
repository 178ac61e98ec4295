// Layers too wide for one rank: each rank has some filters of every layer (filter=N), or some of its inputs
// (channel=N). Alone, or under mpirun with as many ranks as places:   example_filter [STRATEGY]
#include <cstdio>

#include "launch/lockstep.h"

using namespace lockstep;

int main(int argc, char** argv) {
  Runtime runtime;
  return runtime.guard([&] {
    const Data digits = prepare_data("digits").data;
    Symbol x = Flatten()(Input({8, 8, 1}));
    for (int layer = 0; layer < 2; ++layer) x = Dense(1024, {.activation = Activation::relu})(x);
    x = Dense(10, {.activation = Activation::softmax})(x);

    const RunOptions run{
        .batch = 64, .lanes = 1, .seed = 1, .strategy = parse_strategy(argc > 1 ? argv[1] : "filter=2")};
    Model model(Network("wide", x), runtime);
    model.compile({.optimizer = Adam{.lr = 0.001F}});
    const std::string table = model.plan(run, "layers");
    model.fit(digits.train, {.epochs = 2, .run = run});
    const Evaluation result = model.evaluate(digits.test, run);
    if (runtime.rank() == 0)
      std::printf("%s\ntest accuracy %.2f %%\nweights sha256 %s\n", table.c_str(), 100 * result.accuracy,
                  model.weights_sha256().c_str());
  });
}
