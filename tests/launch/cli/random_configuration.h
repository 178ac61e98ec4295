// Training runs drawn from a seed: data, model, and the options of `lockstep train` that decide the bits.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "layers/network/network.h"
#include "tests/launch/data/golden_files.h"
#include "tests/launch/plan/random_layers.h"
#include "tests/support/npy.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::test {

/// What a run is, but for all that may not change its bits.
struct Configuration {
  std::string options;     // of train: all but those below
  int64_t lane_size = 1;   // samples of a lane of the whole batch
  int64_t lanes = 1;       // of the batches that make an update together
  int64_t accumulate = 1;  // batches that make an update
  int64_t steps = 0;       // about
  int64_t samples = 0;     // in the training set, about
  uint64_t seed = 0;
  bool has_test = false;  // or a validation set
  bool validates = false;
  bool files = false;      // data from image files, which --cache and pack change nothing about
  std::string other_data;  // the options' data with one bit of each image changed, where it can be
  std::string data;        // "--data …"
  bool resized_crop = false;
  std::vector<std::string> layers;  // their names
};

class ConfigurationDraw {
 public:
  /// Writes the model and the data into `folder`.
  ConfigurationDraw(uint64_t seed, std::filesystem::path folder)
      : dice_(seed + 250'000), layers_(seed), folder_(std::move(folder)) {}

  Configuration draw() {
    draw_model();
    draw_data();
    draw_length();
    draw_optimizer();
    draw_augmentation();
    draw_callbacks();
    if (dice_.roll(0, 3) == 0) add("--normalise none");
    if (dice_.roll(0, 4) == 0) add("--check-finite");
    return c_;
  }

 private:
  void add(const std::string& option) { c_.options += " " + option; }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  // ---------------------------------------------------------------------------------------------- model and loss

  void draw_model() {
    classes_ = dice_.one_of<int64_t>({2, 2, 3, 5});
    const bool binary = classes_ == 2 && dice_.roll(0, 2) == 0;
    const std::string loss =
        binary ? dice_.one_of<std::string>({"binary_crossentropy", "binary_focal_crossentropy"})
               : dice_.one_of<std::string>({"sparse_categorical_crossentropy", "sparse_categorical_crossentropy",
                                            "categorical_crossentropy", "categorical_focal_crossentropy"});
    const Network network =
        layers_.network(3, binary ? 1 : classes_, binary ? Activation::sigmoid : Activation::softmax);
    testing::write_file(path("model.json"), network_to_json(network));
    image_ = network.input_shape();
    c_.layers = network.layer_names();
    add(fmt::format("--model {} --loss {}", path("model.json"), loss));
    blends_ = loss != "sparse_categorical_crossentropy";
    if (blends_ && dice_.coin()) add("--label-smoothing 0.1");
    if (dice_.coin())
      add(dice_.one_of<std::string>({"--metrics none", "--metrics accuracy,precision,recall", "--metrics f1_score",
                                     binary ? "--metrics accuracy" : "--metrics confusion_matrix,accuracy,mean_iou",
                                     "--metrics accuracy"}));
  }

  // ---------------------------------------------------------------------------------------------- data

  void draw_data() {
    c_.samples = dice_.one_of<int64_t>({1, 7, 33, 65});
    const int64_t kind = dice_.roll(0, 3);
    if (kind == 0) return draw_arrays();
    if (kind == 1 && (image_[2] == 1 || image_[2] == 3)) return draw_files();
    c_.data = fmt::format("--data synthetic:{}x{}x{}/{}/{}/{}", image_[0], image_[1], image_[2], classes_, c_.samples,
                          dice_.roll(1, 40));
    c_.has_test = true;
    if (dice_.coin()) split();
  }

  /// A validation set, where there are samples enough for one by chance.
  void split() {
    if (c_.samples < 33) return;
    add(dice_.coin() ? "--validation-split 0.3" : "--validation-split stratified:0.3");
    c_.validates = c_.has_test = true;
  }

  /// NumPy's arrays: bytes, floats of several ranges, channels last or first.
  void draw_arrays() {
    const bool first = dice_.coin();
    const int64_t kind = dice_.roll(0, 2);
    const std::string shape = first ? fmt::format("({}, {}, {}, {})", c_.samples, image_[2], image_[0], image_[1])
                                    : fmt::format("({}, {}, {}, {})", c_.samples, image_[0], image_[1], image_[2]);
    std::string pixels, other, labels;
    // Of every image, since some are held out; in the middle, since edges are cropped.
    const int64_t values = c_.samples * image_.elements(), step = first ? 1 : image_[2];
    const int64_t middle = (image_[0] / 2 * image_[1] + image_[1] / 2) * step;
    for (int64_t i = 0; i < values; ++i) {
      const int64_t value = dice_.roll(0, 255);
      for (std::string* to : {&pixels, &other}) {
        const int64_t now = to == &other && i % image_.elements() == middle ? value ^ 0x40 : value;
        const float number = kind == 1 ? static_cast<float>(now) : static_cast<float>(now) / 64 - 2;
        if (kind == 0)
          *to += static_cast<char>(now);
        else
          to->append(reinterpret_cast<const char*>(&number), sizeof number);
      }
    }
    // The first label is the last class, so that all are there.
    for (int64_t i = 0; i < c_.samples; ++i)
      labels += static_cast<char>(i == 0 ? classes_ - 1 : dice_.roll(0, classes_ - 1));
    range_from_zero_ = kind != 2;
    const std::string type = kind == 0 ? "|u1" : "<f4";
    testing::write_file(path("images.npy"), testing::npy(type, shape, pixels));
    testing::write_file(path("other.npy"), testing::npy(type, shape, other));
    testing::write_file(path("labels.npy"), testing::npy("|u1", fmt::format("({},)", c_.samples), labels));
    const std::string how = first ? " --channels-first" : "";
    c_.data = fmt::format("--data npy:{},{}{}", path("images.npy"), path("labels.npy"), how);
    c_.other_data = fmt::format("--data npy:{},{}{}", path("other.npy"), path("labels.npy"), how);
    split();
  }

  /// Photographs in folders, of several sizes and kinds.
  void draw_files() {
    static const std::vector<std::string> kinds{"jpeg_420", "jpeg_progressive", "jpeg_grey",  "png_palette",
                                                "png_16",   "jpeg_exif_6",      "png_exif_3", "png_alpha"};
    c_.files = true;
    c_.samples = std::min<int64_t>(c_.samples, 33);
    for (int64_t i = 0; i < std::max<int64_t>(c_.samples, classes_); ++i) {
      const std::string& kind = kinds[static_cast<size_t>(dice_.roll(0, 7))];
      const std::string name = fmt::format("in/{}/{}.{}", i % classes_, i, kind.starts_with("png") ? "png" : "jpg");
      std::filesystem::create_directories(folder_ / "in" / std::to_string(i % classes_));
      testing::write_file(path(name), testing::golden_text(kind));
    }
    c_.samples = std::max<int64_t>(c_.samples, classes_);
    c_.data = fmt::format("--data images:{} --resize {}x{} --channels {}", path("in"), image_[0], image_[1], image_[2]);
    split();
  }

  // ---------------------------------------------------------------------------------------------- how it learns

  void draw_length() {
    c_.lanes = dice_.one_of<int64_t>({1, 2, 4, 8, 8});
    // Norms of features want two samples.
    const bool norms = std::ranges::any_of(c_.layers, [](const auto& name) { return name.starts_with("batch_norm"); });
    c_.lane_size = dice_.roll(norms ? 2 : 1, 4);
    c_.accumulate = dice_.one_of<int64_t>({1, 1, 2, 4});
    while (c_.accumulate > c_.lanes) c_.accumulate /= 2;
    const int64_t batch = c_.lanes * c_.lane_size;
    const int64_t training = c_.validates ? c_.samples * 7 / 10 : c_.samples;
    const int64_t per_epoch = (training + batch - 1) / batch;  // about
    // Whole epochs, or a number of steps that may end within one.
    const int64_t most = dice_.roll(4, 14), epochs = std::clamp<int64_t>(most / per_epoch, 1, 7);
    c_.steps = std::min(epochs * per_epoch, most);
    if (per_epoch > most || dice_.roll(0, 2) == 0)
      add(fmt::format("--steps {}", c_.steps = std::max<int64_t>(c_.steps - 1, 1)));
    else
      add(fmt::format("--epochs {}", epochs));
    c_.seed = static_cast<uint64_t>(dice_.roll(0, 1000));
  }

  void draw_optimizer() {
    const auto name =
        dice_.one_of<std::string>({"sgd", "momentum", "adam", "adamw", "rmsprop", "adagrad", "lars", "lamb"});
    const bool adaptive = name == "adam" || name == "adamw" || name == "lamb";
    add(fmt::format("--optimizer {} --lr {}", name, dice_.one_of({0.001, 0.01, 0.03})));
    const auto sometimes = [&](const std::string& option) {
      if (dice_.roll(0, 2) == 0) add(option);
    };
    sometimes("--weight-decay 0.01");
    if (name == "sgd") sometimes("--momentum 0.8 --nesterov");
    if (name == "rmsprop") sometimes("--rho 0.8 --centered --momentum 0.5");
    if (name == "adagrad") sometimes("--initial-accumulator-value 0.3");
    if (adaptive) sometimes("--beta-1 0.8 --beta-2 0.95");
    sometimes("--exclude-bias-and-norm 1");
    sometimes(dice_.one_of<std::string>({"--clipvalue 0.05", "--clipnorm 0.5", "--global-clipnorm 1"}));
    sometimes("--use-ema --ema-momentum 0.7");
    sometimes("--lookahead-steps 2 --lookahead-alpha 0.4");
    if (dice_.roll(0, 4) == 0) add("--scale-lr 16");
    if (dice_.coin())
      add(dice_.one_of<std::string>({"--schedule step", "--schedule linear --warmup 2",
                                     "--schedule cosine --final-lr 0.001", "--schedule polynomial --power 2",
                                     "--schedule exponential --decay-steps 3 --decay-rate 0.5",
                                     "--schedule cosine_restarts --decay-steps 2", "--schedule one_cycle"}));
  }

  void draw_augmentation() {
    if (dice_.roll(0, 2) == 0) return;
    std::vector<std::string> words{"crop:2",        "flip",        "vertical_flip", "rotate:15",
                                   "zoom:10",       "shear:5",     "cutout:3",      "translate:10",
                                   "brightness:20", "contrast:30", "erase:50",      "resized_crop:30"};
    if (image_[2] == 3 && range_from_zero_) words.insert(words.end(), {"saturation:40", "hue:30"});
    if (blends_) words.insert(words.end(), {"mixup:0.4", "cutmix:1"});
    std::vector<std::string> chosen;
    for (const std::string& word : words)
      if (dice_.roll(0, 3) == 0) chosen.push_back(word);
    if (chosen.empty()) return;
    for (const std::string& word : chosen) c_.resized_crop |= word.starts_with("resized");
    add(fmt::format("--augment {}", fmt::join(chosen, ",")));
  }

  void draw_callbacks() {
    if (dice_.coin()) add("--csv");
    if (dice_.roll(0, 3) == 0) add("--tensorboard");
    if (!c_.validates) return;
    if (dice_.coin()) add("--checkpoint-best");
    if (dice_.roll(0, 2) == 0) add("--early-stopping 1");
    if (dice_.roll(0, 2) == 0) add("--reduce-on-plateau 0.5,1");
  }

  Dice dice_;
  RandomLayers layers_;
  std::filesystem::path folder_;
  Configuration c_;
  Shape image_;
  int64_t classes_ = 2;
  bool blends_ = false, range_from_zero_ = true;
};

}  // namespace lockstep::test
