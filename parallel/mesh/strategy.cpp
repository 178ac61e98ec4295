#include "parallel/mesh/strategy.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "core/error.h"

namespace lockstep {

namespace {

struct Kind {
  std::string name;
  std::optional<Cut> cut;
};

const std::array<Kind, 6>& kinds() {
  static const std::array<Kind, 6> all{{{"data", Cut::batch},
                                        {"space_h", Cut::height},
                                        {"space_w", Cut::width},
                                        {"filter", Cut::filters},
                                        {"channel", Cut::channels},
                                        {"stage", std::nullopt}}};
  return all;
}

/// Whether all of `name` matches; '*' stands for any characters.
bool matches_whole(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] != '*')
    return !name.empty() && pattern[0] == name[0] && matches_whole(pattern.substr(1), name.substr(1));
  for (size_t skip = 0; skip <= name.size(); ++skip)
    if (matches_whole(pattern.substr(1), name.substr(skip))) return true;
  return false;
}

}  // namespace

std::vector<std::string> axis_names() {
  std::vector<std::string> names;
  for (const Kind& kind : kinds()) names.push_back(kind.name);
  return names;
}

std::span<const std::string> cut_names() {
  static const std::array<std::string, 5> names{"batch", "height", "width", "filters", "channels"};
  return names;
}

int64_t Strategy::ranks_per_lane() const {
  int64_t ranks = 1;
  for (size_t axis = 1; axis < mesh.size(); ++axis) ranks *= mesh[axis].size;
  return ranks;
}

const std::vector<std::string>& pipeline_schedule_names() {
  static const std::vector<std::string> all{"1f1b", "gpipe"};
  return all;
}

PipelineSchedule schedule_from_name(const std::string& name) {
  return static_cast<PipelineSchedule>(index_of("pipeline schedule", name, pipeline_schedule_names()));
}

std::string name_of(PipelineSchedule schedule) { return pipeline_schedule_names()[static_cast<size_t>(schedule)]; }

size_t Strategy::stage_axis() const {
  for (size_t axis = 1; axis < mesh.size(); ++axis)
    if (mesh[axis].name == "stage") return axis;
  return 0;
}

const Pin* Strategy::pin(const std::string& name, size_t axis) const {
  for (auto pin = pins.rbegin(); pin != pins.rend(); ++pin)
    if (pin->place.contains(mesh[axis].name) && matches(pin->layers, name)) return &*pin;
  return nullptr;
}

std::optional<Cut> Strategy::cut(const std::string& name, size_t axis) const {
  const Pin* found = pin(name, axis);
  return found ? found->place.at(mesh[axis].name) : mesh[axis].cut;
}

bool matches(const std::string& pattern, const std::string& name) {
  for (size_t end = name.find('/'); end != std::string::npos; end = name.find('/', end + 1))
    if (matches_whole(pattern, std::string_view(name).substr(0, end))) return true;
  return matches_whole(pattern, name);
}

std::string layer_of(const std::string& name, std::span<const std::string> layers) {
  std::string found;
  for (const std::string& layer : layers)
    if (layer.size() > found.size() && name.starts_with(layer) &&
        (name.size() == layer.size() || name[layer.size()] == '/' || name[layer.size()] == ':'))
      found = layer;
  return found;
}

Strategy data_parallel(int64_t lanes) {
  Strategy strategy;
  strategy.mesh[0].size = lanes;
  return strategy;
}

void add_axis(Strategy& strategy, const std::string& name, std::optional<int64_t> members) {
  const Kind& kind = kinds()[index_of("mesh axis", name, axis_names())];
  constexpr int64_t most = 1 << 16;
  const int64_t size = members.value_or(1);
  if (size < 1 || size > most) throw InputError("mesh axis '{}' has size {}, expected 1 to {}", name, size, most);
  if (strategy.ranks_per_lane() * strategy.data_ranks.value_or(1) * size > most)
    throw InputError("with mesh axis '{}' of size {} there are more than {} ranks", name, size, most);
  if (name == "data") {
    if (strategy.data_ranks) throw InputError("mesh axis 'data' is given twice");
    strategy.data_ranks = size;
    return;
  }
  if (std::ranges::find(strategy.mesh, name, &Axis::name) != strategy.mesh.end())
    throw InputError("mesh axis '{}' is given twice", name);
  if (!members || size > 1) strategy.mesh.push_back({name, members.value_or(0), kind.cut});
}

void resolve_stages(Strategy& strategy, int ranks) {
  const size_t axis = strategy.stage_axis();
  if (axis == 0 || strategy.mesh[axis].size > 0) return;
  int64_t others = strategy.data_ranks.value_or(1);
  for (size_t other = 1; other < strategy.mesh.size(); ++other)
    if (other != axis) others *= strategy.mesh[other].size;
  if (ranks == 0) throw InputError("stage=auto shares the ranks that there are: expected --ranks N, or mpirun");
  if (ranks % others != 0)
    throw InputError("stage=auto: {} ranks do not divide by the {} places of the other axes", ranks, others);
  strategy.mesh[axis].size = ranks / others;
  if (ranks != others) return;
  strategy.mesh.erase(strategy.mesh.begin() + static_cast<ptrdiff_t>(axis));
  for (Pin& pin : strategy.pins) pin.stage.reset();
}

Strategy parse_strategy(const std::string& text) {
  Strategy strategy;
  if (text == "data") return strategy;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const size_t equals = part.find('=');
    int64_t size = 0;
    const char* const last = part.data() + part.size();
    const bool number = equals != std::string::npos && std::from_chars(part.data() + equals + 1, last, size) ==
                                                           std::from_chars_result{last, std::errc{}};
    if (equals == std::string::npos) throw unknown("strategy", part, axis_names());
    const bool automatic = part == "stage=auto";
    if (!number && !automatic)
      throw InputError("strategy '{}': '{}' is no axis with its size, expected such as data=2,space_h=2; axes are {}",
                       text, part, fmt::join(axis_names(), ", "));
    add_axis(strategy, part.substr(0, equals), automatic ? std::nullopt : std::optional(size));
    begin = end + 1;
  }
  return strategy;
}

void expect_match(const std::string& what, const std::string& pattern, std::span<const std::string> layers) {
  if (std::ranges::any_of(layers, [&](const std::string& layer) { return matches(pattern, layer); })) return;
  const std::string near = nearest(pattern, layers);
  throw InputError("{} '{}' matches no layer{}; layers are {}", what, pattern,
                   near.empty() ? "" : fmt::format(", did you mean '{}'", near), fmt::join(layers, ", "));
}

void check_pins(const Strategy& strategy, std::span<const std::string> layers) {
  for (const Pin& pin : strategy.pins) {
    expect_match("pin", pin.layers, layers);
    if (pin.stage && strategy.stages() == 1)
      throw InputError("pin '{}' names stage {}, but the mesh has no axis 'stage'", pin.layers, *pin.stage);
  }
}

}  // namespace lockstep
