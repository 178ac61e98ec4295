// Trains a small network, with a layer of its own, on as many ranks as asked for:   consumer RANKS
#include <cstdio>
#include <cstdlib>
#include <lockstep/lockstep.h>
#include <lockstep/version.h>

#include "softsign.h"

using namespace lockstep;

int main(int argc, char** argv) {
  Runtime runtime;
  return runtime.guard([&] {
    const Data digits = prepare_data("digits").data;
    register_softsign();
    Symbol x = Softsign()(Conv2D(16, {3, 3}, {.padding = Padding::same})(Input({8, 8, 1})));
    x = Dense(10, {.activation = Activation::softmax})(Flatten()(MaxPooling2D({2, 2})(x)));
    Model model(Network("consumer", x), runtime);
    model.compile({.optimizer = Adam{.lr = 0.002F}});
    const int ranks = argc > 1 ? std::atoi(argv[1]) : 1;
    model.fit(digits.train, {.epochs = 3, .run = {.batch = 32, .ranks = ranks, .seed = 1}});
    const Evaluation result = model.evaluate(digits.test, {.batch = 32, .ranks = ranks});
    std::printf("Lockstep %s: %.2f %%, %s\n", LOCKSTEP_VERSION, 100 * result.accuracy, model.weights_sha256().c_str());
  });
}
