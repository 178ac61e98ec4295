// A callback of one's own, as a class: stops when the training accuracy is reached. See callbacks.cpp for one that is a
// function.
#include <cstdio>

#include "launch/lockstep.h"

using namespace lockstep;

namespace {

class StopAt final : public Callback {
 public:
  explicit StopAt(float accuracy) : accuracy_(accuracy) {}
  // It acts after epochs alone, so that no message is needed between steps.
  Acts acts() const override { return Acts::on_epochs; }
  std::string name() const override { return "StopAt"; }
  // A fit that goes on from a checkpoint must have the same.
  std::string decides_by() const override { return "accuracy " + std::to_string(accuracy_); }
  void on_epoch_end(Training& training, const Report& report) override {
    if (report.accuracy >= accuracy_) training.stop();
  }

 private:
  float accuracy_;
};

}  // namespace

int main() {
  Runtime runtime;
  return runtime.guard([&] {
    const Data digits = prepare_data("digits").data;
    const Symbol hidden = Dense(64, {.activation = Activation::relu})(Flatten()(Input({8, 8, 1})));
    Model model(Network("own_callback", Dense(10, {.activation = Activation::softmax})(hidden)), runtime);
    model.compile({.optimizer = Adam{.lr = 0.005F}});
    const History history = model.fit(
        digits.train, {.epochs = 50, .run = {.batch = 32, .seed = 1}, .callbacks = {std::make_shared<StopAt>(0.97F)}});
    if (runtime.rank() != 0) return;
    std::printf("epochs %zu\nweights sha256 %s\n", history.epochs.size(), model.weights_sha256().c_str());
  });
}
