// A reader of one's own: "csv:FILE", lines of 64 grey levels from 0 to 16 and a class from 0 to 9.   own_reader FILE
#include <cstdio>
#include <fstream>
#include <sstream>

#include "launch/data/byte_images.h"
#include "launch/lockstep.h"

using namespace lockstep;

namespace {

Data open_csv(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw InputError("cannot open {}", path);
  // Images as bytes in memory; any class that derives from Dataset is as good.
  ByteImages::Contents images;
  images.image_shape = {8, 8, 1};
  images.classes = 10;
  images.white = 16;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    std::vector<int> values;
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, ',');) values.push_back(std::atoi(cell.c_str()));
    if (values.size() != 65)
      throw InputError("{}:{}: {} numbers, expected 64 grey levels and a class", path, number, values.size());
    images.pixels.insert(images.pixels.end(), values.begin(), values.end() - 1);
    images.labels.push_back(static_cast<uint8_t>(values.back()));
  }
  return {.name = "csv:" + path, .train = std::make_shared<ByteImages>(std::move(images)), .test = nullptr};
}

}  // namespace

int main(int argc, char** argv) {
  Runtime runtime;
  return runtime.guard([&] {
    if (argc != 2) throw InputError("usage: {} FILE.csv", argv[0]);
    register_reader("csv", "FILE.csv", open_csv);

    // Splitting, resizing and normalising work as for any other kind.
    const Data data = prepare_data(std::string("csv:") + argv[1], {.validation_split = 0.2F, .seed = 1}).data;
    const Symbol hidden = Dense(64, {.activation = Activation::relu})(Flatten()(Input({8, 8, 1})));
    Model model(Network("own_reader", Dense(10, {.activation = Activation::softmax})(hidden)), runtime);
    model.compile({.optimizer = Adam{.lr = 0.005F}});
    model.fit(data.train, {.epochs = 3, .run = {.batch = 32, .seed = 1}});
    const Evaluation result = model.evaluate(data.validation, {.batch = 32});
    if (runtime.rank() != 0) return;
    std::printf("validation accuracy %.2f %%\nweights sha256 %s\n", 100 * result.accuracy,
                model.weights_sha256().c_str());
  });
}
