// A CNN whose work on each image is shared by several ranks: rows, then filters, or both. Alone, or under mpirun with
// as many ranks as the strategy has places:   example_split [STRATEGY]
#include <cstdio>

#include "launch/lockstep.h"

using namespace lockstep;

int main(int argc, char** argv) {
  Runtime runtime;
  return runtime.guard([&] {
    // "space_h=2": the upper and the lower half of each image. "filter=2": half of each layer's filters.
    Strategy strategy = parse_strategy(argc > 1 ? argv[1] : "space_h=2");
    // The last layers are small: every rank computes all of them.
    for (size_t axis = 1; axis < strategy.mesh.size(); ++axis)
      strategy.pins.push_back({.layers = "head*", .place = {{strategy.mesh[axis].name, std::nullopt}}});

    const Data digits = prepare_data("digits", {.resize = "32"}).data;
    Symbol x = Input({32, 32, 1});
    for (const int64_t filters : {16, 32, 64}) {
      x = Conv2D(filters, {3, 3}, {.padding = Padding::same, .activation = Activation::relu})(x);
      x = Conv2D(filters, {3, 3}, {.strides = {2, 2}, .padding = Padding::same, .activation = Activation::relu})(x);
    }
    x = Dense(32, {.activation = Activation::relu}).named("head1")(GlobalAveragePooling2D()(x));
    x = Dense(10, {.activation = Activation::softmax}).named("head2")(x);

    Model model(Network("split", x), runtime);
    model.compile({.optimizer = Adam{.lr = 0.002F}});
    const RunOptions run{.batch = 32, .lanes = 2, .seed = 1, .strategy = strategy};
    const std::string table = model.plan(run, "layers");
    model.fit(digits.train, {.epochs = 3, .run = run});
    const Evaluation result = model.evaluate(digits.test, run);
    if (runtime.rank() != 0) return;
    std::printf("%s\ntest accuracy %.2f %%\nweights sha256 %s\n", table.c_str(), 100 * result.accuracy,
                model.weights_sha256().c_str());
  });
}
