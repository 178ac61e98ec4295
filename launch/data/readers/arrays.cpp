#include "launch/data/readers/arrays.h"

#include <algorithm>
#include <mutex>

#include "core/error.h"
#include "core/log.h"
#include "launch/data/byte_images.h"
#include "launch/data/readers/npz.h"
#include "launch/files/gzip.h"
#include "launch/files/sha256.h"

namespace lockstep {

namespace {

std::string shape_text(const Array& array) {
  std::string text;
  for (const int64_t side : array.shape) text += (text.empty() ? "" : ", ") + std::to_string(side);
  return fmt::format("{} [{}]", array.type(), text);
}

class Arrays final : public Dataset {
 public:
  Arrays(Array images, std::vector<int32_t> labels, int classes)
      : images_(std::move(images)), labels_(std::move(labels)), classes_(classes) {
    const auto& s = images_.shape;
    shape_ = {s[1], s[2], s.size() == 4 ? s[3] : 1};
  }
  int64_t size() const override { return static_cast<int64_t>(labels_.size()); }
  Shape image_shape() const override { return shape_; }
  int classes() const override { return classes_; }
  int32_t read(int64_t index, std::span<float> image) const override {
    check_read(*this, index, image);
    const size_t first = static_cast<size_t>(index) * image.size();
    for (size_t i = 0; i < image.size(); ++i) image[i] = images_.value(first + i);
    return labels_[static_cast<size_t>(index)];
  }
  int32_t label(int64_t index) const override { return labels_.at(static_cast<size_t>(index)); }
  ValueRange range() const override {
    std::call_once(measured_, [this] {
      if (images_.kind == 'f') range_ = measured_range(*this);
    });
    return range_;
  }
  std::string content_sha256() const override {
    Sha256 hash;
    hash.update(fmt::format("array {} {} {} {}\n", size(), shape_.str(), classes_, images_.type()));
    hash.update(std::as_bytes(std::span(images_.bytes)));
    hash.update(std::as_bytes(std::span(labels_)));
    return hash.hex();
  }

 private:
  Array images_;
  std::vector<int32_t> labels_;
  int classes_;
  Shape shape_;
  mutable std::once_flag measured_;
  mutable ValueRange range_;
};

std::vector<int32_t> read_labels(const Array& labels, int64_t count) {
  const auto& s = labels.shape;
  const bool column = s.size() == 2 && s[1] == 1;
  if ((s.size() != 1 && !column) || s[0] != count || (labels.kind != 'u' && labels.kind != 'i' && labels.kind != 'b'))
    throw InputError("{}: labels are {}, expected [{}] or [{}, 1] of whole numbers", labels.where, shape_text(labels),
                     count, count);
  constexpr int64_t most = (1 << 20) - 1;
  std::vector<int32_t> result;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    const int64_t label = labels.whole(i);
    if (label < 0 || label > most)
      throw InputError("{}: label {} of sample {}, expected 0 to {}", labels.where, label, i, most);
    result.push_back(static_cast<int32_t>(label));
  }
  return result;
}

int largest(const Array& labels) {
  int64_t most = -1;
  for (int64_t i = 0; i < labels.elements(); ++i) most = std::max(most, labels.whole(static_cast<size_t>(i)));
  return static_cast<int>(std::clamp<int64_t>(most, 0, 1 << 20));
}

/// [N, C, H, W] to [N, H, W, C].
void put_channels_last(Array& images) {
  auto& s = images.shape;
  const auto channels = static_cast<size_t>(s[1]), pixels = static_cast<size_t>(s[2] * s[3]), size = images.size;
  std::vector<uint8_t> last(images.bytes.size());
  const uint8_t* from = images.bytes.data();
  for (size_t image = 0; image < last.size(); image += channels * pixels * size)
    for (size_t c = 0; c < channels; ++c)
      for (size_t p = 0; p < pixels; ++p, from += size)
        std::copy_n(from, size, last.data() + image + (p * channels + c) * size);
  images.bytes = std::move(last);
  s = {s[0], s[2], s[3], s[1]};
}

/// Array images of four sides are read as `channels` says.
void arrange(Array& images, Channels channels) {
  const auto& s = images.shape;
  if (s.size() != 4) return;
  const auto colours = [](int64_t side) { return side == 1 || side == 3; };
  if (channels == Channels::first)
    put_channels_last(images);
  else if (colours(s[1]) && !colours(s[3]))
    log().warn(
        "{}: images are {}, read as {} row{} and {} columns of {} channels; --channels-first reads them as {} "
        "channel{} of {} rows and {} columns",
        images.where, shape_text(images), s[1], s[1] == 1 ? "" : "s", s[2], s[3], s[1], s[1] == 1 ? "" : "s", s[2],
        s[3]);
}

}  // namespace

std::shared_ptr<const Dataset> array_dataset(Array images, Array labels, int least_classes) {
  const auto& s = images.shape;
  const bool values = (images.kind == 'u' && images.size == 1) || (images.kind == 'f' && images.size >= 4);
  if (s.size() < 3 || s.size() > 4 || !values)
    throw InputError("{}: images are {}, expected [N, H, W] or [N, H, W, C] of u1 (0 to 255), f4 or f8", images.where,
                     shape_text(images));
  if (std::ranges::min(s) < 1 || images.elements() / s[0] > INT32_MAX / 4)
    throw InputError("{}: images are {}, expected sides from 1 and images of less than 2 GiB", images.where,
                     shape_text(images));
  std::vector<int32_t> read = read_labels(labels, s[0]);
  const int classes = std::max(least_classes, std::ranges::max(read) + 1);
  return std::make_shared<Arrays>(std::move(images), std::move(read), classes);
}

Data open_npy(const std::string& files, Channels channels) {
  const size_t comma = files.find(',');
  if (comma == std::string::npos || comma == 0 || comma + 1 == files.size())
    throw InputError("data 'npy:{}', expected npy:IMAGES.npy,LABELS.npy", files);
  const std::string images = files.substr(0, comma), labels = files.substr(comma + 1);
  Array read = parse_npy(read_file(images), images);
  arrange(read, channels);
  return {"npy:" + files, array_dataset(std::move(read), parse_npy(read_file(labels), labels), 1), nullptr};
}

Data open_npz(const std::filesystem::path& file, Channels channels) {
  auto arrays = parse_npz(read_file(file), file.string(), {"x_train", "y_train", "x_test", "y_test"});
  const auto take = [&](const std::string& name) {
    const auto found = arrays.find(name);
    if (found == arrays.end())
      throw InputError("{}: no array '{}', expected x_train and y_train, and perhaps x_test and y_test", file.string(),
                       name);
    return std::move(found->second);
  };
  Array x_train = take("x_train"), y_train = take("y_train");
  arrange(x_train, channels);
  if (!arrays.contains("x_test") && !arrays.contains("y_test"))
    return {"npz:" + file.string(), array_dataset(std::move(x_train), std::move(y_train), 1), nullptr};
  Array x_test = take("x_test"), y_test = take("y_test");
  if (channels == Channels::first) arrange(x_test, channels);
  const int whole = y_test.kind == 'f' || y_train.kind == 'f' ? 1 : std::max(largest(y_train), largest(y_test)) + 1;
  Data data{"npz:" + file.string(), array_dataset(std::move(x_train), std::move(y_train), whole),
            array_dataset(std::move(x_test), std::move(y_test), whole)};
  if (data.test->image_shape() != data.train->image_shape())
    throw InputError("{}: training images are {}, test images {}", file.string(), data.train->image_shape().str(),
                     data.test->image_shape().str());
  return data;
}

}  // namespace lockstep
