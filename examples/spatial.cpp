// Images too large for one rank: each rank has some rows of every image, and of every feature map. Alone, or under
// mpirun with as many ranks as places:   example_spatial [STRATEGY]   such as space_h=4 or space_h=2,space_w=2
#include <cstdio>

#include "launch/lockstep.h"

using namespace lockstep;

int main(int argc, char** argv) {
  Runtime runtime;
  return runtime.guard([&] {
    Symbol x = Input({256, 256, 3});
    for (const int64_t filters : {8, 16, 32, 64})
      x = Conv2D(filters, {3, 3}, {.strides = {2, 2}, .padding = Padding::same, .activation = Activation::relu})(x);
    x = Dense(10, {.activation = Activation::softmax})(GlobalAveragePooling2D()(x));

    const RunOptions run{
        .batch = 4, .lanes = 1, .seed = 1, .strategy = parse_strategy(argc > 1 ? argv[1] : "space_h=2")};
    Model model(Network("spatial", x), runtime);
    model.compile({.optimizer = Adam{.lr = 0.001F}});
    const std::string table = model.plan(run, "layers");
    model.fit(prepare_data("synthetic:256x256x3/10/16").data.train, {.epochs = 2, .run = run});
    if (runtime.rank() == 0) std::printf("%s\nweights sha256 %s\n", table.c_str(), model.weights_sha256().c_str());
  });
}
