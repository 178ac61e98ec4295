// Callbacks as in Keras: stop when the validation no longer improves, lower the learning rate, log, and one of one's
// own.
#include <cstdio>

#include "launch/lockstep.h"

using namespace lockstep;

int main() {
  Runtime runtime;
  return runtime.guard([&] {
    const Data digits = prepare_data("digits", {.resize = "28"}).data;
    Model model(zoo_model("lenet5", {28, 28, 1}, 10), runtime);
    model.compile({.optimizer = Adam{.lr = 0.01F}});

    // Callbacks run on rank 0; what they decide holds on all ranks.
    const auto stopping =
        std::make_shared<EarlyStopping>(EarlyStoppingOptions{.patience = 2, .restore_best_weights = true});
    const auto plateau = std::make_shared<ReduceLROnPlateau>(ReduceLROnPlateauOptions{.factor = 0.3F, .patience = 1});
    const auto own = lambda_callback({.on_epoch_end = [](Training& training, const Report& report) {
      std::printf("epoch %d: validation loss %.4f, next learning rate %g\n", static_cast<int>(report.epoch + 1),
                  report.validation->loss, training.lr());
    }});
    const History history = model.fit(digits.train, {.epochs = 12,
                                                     .run = {.batch = 64, .seed = 1},
                                                     .validation_data = digits.test,
                                                     .callbacks = {plateau, stopping, own}});
    const Evaluation best = model.evaluate(digits.test, {.batch = 64});
    if (runtime.rank() != 0) return;
    std::printf("epochs %zu\ntest accuracy %.2f %%\nweights sha256 %s\n", history.epochs.size(), 100 * best.accuracy,
                model.weights_sha256().c_str());
  });
}
