#include "launch/data/readers/info.h"

#include "launch/data/crew.h"
#include "launch/data/image/encoded_images.h"

namespace lockstep {

SetInfo look_at(const Dataset& set, int workers) {
  SetInfo info{.samples = set.size(),
               .image_shape = set.image_shape(),
               .per_class = std::vector<int64_t>(static_cast<size_t>(set.classes())),
               .corrupt = {},
               .values = {},
               .sha256 = {}};
  std::vector<int32_t> labels(static_cast<size_t>(set.size()));
  std::vector<std::string> wrong(labels.size());  // with those that cannot be read
  Measuring measuring(set);
  Crew crew(workers);
  std::vector<std::vector<float>> images(static_cast<size_t>(crew.workers()),
                                         std::vector<float>(static_cast<size_t>(info.image_shape.elements())));
  crew.each(set.size(), [&](int64_t i, int worker) {
    std::vector<float>& image = images[static_cast<size_t>(worker)];
    try {
      labels[static_cast<size_t>(i)] = set.read(i, image);
      measuring.add(i, image);
    } catch (const CorruptImage& error) {
      wrong[static_cast<size_t>(i)] = error.what();
    }
  });
  for (size_t i = 0; i < labels.size(); ++i)
    if (wrong[i].empty())
      ++info.per_class.at(static_cast<size_t>(labels[i]));
    else
      --info.samples;
  if (const auto* files = dynamic_cast<const EncodedImages*>(&set)) {
    const auto sound = files->without(wrong);
    info.corrupt = sound->corrupt();
    info.sha256 = sound->content_sha256();
  } else {
    info.sha256 = set.content_sha256();
  }
  info.values = measuring.result();
  return info;
}

}  // namespace lockstep
