// A CNN as in Keras, trained on handwritten digits; under mpirun the same program uses all ranks.
#include <cstdio>

#include "launch/lockstep.h"

using namespace lockstep;

int main() {
  Runtime runtime;
  return runtime.guard([&] {
    const Data digits = prepare_data("digits").data;

    const Symbol image = Input({8, 8, 1});
    Symbol x = Conv2D(32, {3, 3}, {.padding = Padding::same, .activation = Activation::relu})(image);
    const Symbol shortcut = x;
    x = Conv2D(32, {3, 3}, {.padding = Padding::same, .use_bias = false})(x);
    x = BatchNormalization()(x);
    x = ReLU()(Add()({x, shortcut}));
    x = MaxPooling2D({2, 2})(x);
    x = Dropout(0.2F)(Flatten()(x));
    x = Dense(10, {.activation = Activation::softmax})(x);

    Model model(Network("example", x), runtime);
    model.compile({.optimizer = Adam{.lr = 0.002F}, .loss = "sparse_categorical_crossentropy"});
    model.fit(digits.train, {.epochs = 5, .run = {.batch = 32, .seed = 1}});
    const Evaluation result = model.evaluate(digits.test, {.batch = 32});
    if (runtime.rank() != 0) return;
    std::puts(model.summary().c_str());
    std::printf("test accuracy %.2f %%\nweights sha256 %s\n", 100 * result.accuracy, model.weights_sha256().c_str());
  });
}
