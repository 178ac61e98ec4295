#include "launch/data/subset.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/random.h"
#include "launch/files/sha256.h"

namespace lockstep {

namespace {

class Subset final : public Dataset {
 public:
  Subset(std::shared_ptr<const Dataset> inner, std::vector<int64_t> indices)
      : inner_(std::move(inner)), indices_(std::move(indices)) {}
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Shape image_shape() const override { return inner_->image_shape(); }
  int classes() const override { return inner_->classes(); }
  Type target() const override { return inner_->target(); }
  void read_target(int64_t index, std::span<std::byte> target) const override {
    inner_->read_target(at(index), target);
  }
  int32_t read(int64_t index, std::span<float> image) const override { return inner_->read(at(index), image); }
  int32_t read_crop(int64_t index, const ChooseCrop& choose, std::span<float> image) const override {
    return inner_->read_crop(at(index), choose, image);
  }
  uint64_t key(int64_t index) const override { return inner_->key(at(index)); }
  int32_t label(int64_t index) const override { return inner_->label(at(index)); }
  ValueRange range() const override { return inner_->range(); }
  const Normalisation* normalisation() const override { return inner_->normalisation(); }
  std::string content_sha256() const override {
    Sha256 hash;
    hash.update("subset 1 of " + inner_->content_sha256());
    for (const int64_t index : indices_) hash.update(fmt::format(" {}", index));
    return hash.hex();
  }

 private:
  int64_t at(int64_t index) const {
    if (index < 0 || index >= size()) throw Error("sample {} of a data set of {}", index, size());
    return indices_[static_cast<size_t>(index)];
  }
  std::shared_ptr<const Dataset> inner_;
  std::vector<int64_t> indices_;
};

/// The parts by which samples are held out.
Split parted(const std::shared_ptr<const Dataset>& data, float share, const std::vector<bool>& is_held_out) {
  std::vector<int64_t> rest, held_out;
  for (int64_t i = 0; i < data->size(); ++i) (is_held_out[static_cast<size_t>(i)] ? held_out : rest).push_back(i);
  if (rest.empty() || held_out.empty())
    throw InputError("a validation split of {} leaves {} of {} images for training, expected some on both sides", share,
                     rest.size(), data->size());
  return {subset(data, std::move(rest)), subset(data, std::move(held_out))};
}

/// By sample: which the split goes by. Throws InputError for a share that is none.
std::vector<uint32_t> numbers(const Dataset& data, float share, uint64_t seed) {
  if (!(share > 0 && share < 1)) throw InputError("a validation split of {}, expected above 0 and below 1", share);
  const Random random(seed, Purpose::split);
  std::vector<uint32_t> all(static_cast<size_t>(data.size()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = random.bits(data.key(static_cast<int64_t>(i)), 0)[0];
  return all;
}

}  // namespace

std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> inner, std::vector<int64_t> indices) {
  return std::make_shared<Subset>(std::move(inner), std::move(indices));
}

Split split(const std::shared_ptr<const Dataset>& data, float share, uint64_t seed) {
  std::vector<bool> held_out;
  for (const uint32_t number : numbers(*data, share, seed)) held_out.push_back(to_uniform(number) < share);
  return parted(data, share, held_out);
}

Split stratified_split(const std::shared_ptr<const Dataset>& data, float share, uint64_t seed) {
  if (data->target() != Type{Shape{}, DType::i32})
    throw InputError("a stratified split of samples whose targets are {}, expected one class each",
                     data->target().str());
  const std::vector<uint32_t> number = numbers(*data, share, seed);
  std::map<int32_t, std::vector<size_t>> classes;
  for (size_t i = 0; i < number.size(); ++i) classes[data->label(static_cast<int64_t>(i))].push_back(i);
  std::vector<bool> held_out(number.size());
  for (auto& [label, samples] : classes) {
    const auto count = static_cast<size_t>(std::lround(double{share} * static_cast<double>(samples.size())));
    std::ranges::sort(samples, {}, [&](size_t i) { return std::pair(number[i], data->key(static_cast<int64_t>(i))); });
    samples.resize(std::min(count, samples.size() - 1));
    for (const size_t i : samples) held_out[i] = true;
  }
  return parted(data, share, held_out);
}

}  // namespace lockstep
