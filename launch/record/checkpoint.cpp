#include "launch/record/checkpoint.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <optional>

#include "core/error.h"
#include "launch/files/durable.h"
#include "launch/files/gzip.h"
#include "launch/files/sha256.h"
#include "launch/host/build_info.h"
#include "launch/record/checkpoint_folder.h"
#include "launch/record/manifest.h"
#include "launch/record/weights_file.h"

namespace lockstep {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char *weights_file = "weights.safetensors", *optimizer_file = "optimizer.safetensors",
                     *callbacks_file = "callbacks.safetensors";
constexpr const char *manifest_file = "manifest.json", *seal_file = "manifest.sha256";
constexpr const char* format = "lockstep checkpoint";
constexpr int version = 2;
const Shape loss_scale_shape{2};

WrittenFile write_optimizer(const fs::path& path, const Network& network, const Checkpoint& checkpoint) {
  std::vector<NamedTensor> tensors;
  for (const Variable& variable : network.variables()) {
    if (!variable.trainable) continue;
    for (size_t slot = 0; slot < checkpoint.slot_names.size(); ++slot)
      tensors.push_back({variable.name + "/" + checkpoint.slot_names[slot], variable.shape,
                         checkpoint.state.slots.at(slot).at(variable.name)});
  }
  const LossScale scale = checkpoint.state.loss_scale.value();
  const std::array<float, 2> values{scale.scale, scale.good_steps};
  tensors.push_back({std::string(loss_scale_name), loss_scale_shape, values});
  return write_safetensors(path, tensors);
}

std::string callback_key(size_t callback, const std::string& variable) {
  return std::to_string(callback) + "/" + variable;
}

/// Weights that callbacks keep: "<place among the callbacks>/<variable>".
WrittenFile write_callbacks(const fs::path& path, const Network& network, const TrainingState& state) {
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < state.callbacks.size(); ++i)
    if (const Weights& kept = state.callbacks[i].second.weights; !kept.empty())
      for (const Variable& variable : network.variables())
        tensors.push_back({callback_key(i, variable.name), variable.shape, kept.at(variable.name)});
  return write_safetensors(path, tensors);
}

Json callbacks_json(const TrainingState& state) {
  Json all = Json::array();
  for (const auto& [name, kept] : state.callbacks)
    all.push_back({{"name", name}, {"state", kept.text}, {"weights", !kept.weights.empty()}});
  return all;
}

Json file_json(const WrittenFile& file) { return {{"bytes", file.bytes}, {"sha256", file.sha256}}; }

Json sums_json(const EpochSums& sums) { return {{"sums", sums.sums}, {"samples", sums.samples}}; }
EpochSums sums_of(const Json& json) {
  return {json.at("sums").get<std::vector<double>>(), json.at("samples").get<int64_t>()};
}

Json manifest_json(const Network& network, const Checkpoint& checkpoint) {
  const TrainingState& state = checkpoint.state;
  return {{"format", format},
          {"version", version},
          {"lockstep", build_info().version},
          {"written", utc(std::chrono::system_clock::now())},
          {"step", state.steps_done},
          {"epoch", state.epochs_done},
          {"step_in_epoch", state.fit.step_in_epoch},
          {"fit", {{"steps", state.fit.steps}, {"epochs", state.fit.epochs}}},
          {"epoch_sums", sums_json(state.fit.sums)},
          {"last_epoch_sums", sums_json(state.fit.ended)},
          {"lr", state.lr.value()},
          {"slots", checkpoint.slot_names},
          {"callbacks", callbacks_json(state)},
          {"configuration", checkpoint.configuration},
          {"run", checkpoint.run},
          {"weights_sha256", weights_sha256(network, state.weights)}};
}

}  // namespace

void write_checkpoint(const fs::path& folder, const Network& network, const Checkpoint& checkpoint) {
  const std::string refused = fmt::format("'{}' is not written: ", folder.string());
  expect_finite(network, checkpoint.state.weights, refused + "the weights");
  for (const auto& [name, kept] : checkpoint.state.callbacks)
    if (!kept.weights.empty()) expect_finite(network, kept.weights, refused + "the weights that " + name + " keeps");
  const fs::path part = unfinished(folder);
  fs::remove_all(part);
  fs::create_directories(part);
  Json manifest = manifest_json(network, checkpoint);
  manifest["files"] = {{weights_file, file_json(write_weights(part / weights_file, network, checkpoint.state.weights))},
                       {optimizer_file, file_json(write_optimizer(part / optimizer_file, network, checkpoint))},
                       {callbacks_file, file_json(write_callbacks(part / callbacks_file, network, checkpoint.state))}};
  const std::string text = manifest.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  write_atomically(part / manifest_file, text);
  write_atomically(part / seal_file, fmt::format("{}  {}\n", sha256(text), manifest_file));  // as sha256sum has it
  if (fs::exists(folder)) remove_checkpoint(folder);
  rename_durably(part, folder);
}

namespace {

std::vector<uint8_t> read_sealed(const fs::path& path, std::optional<uint64_t> bytes, const std::string& hash) {
  std::vector<uint8_t> contents = read_file(path);
  if (bytes && contents.size() != *bytes)
    throw InputError("{}: ends at byte {}, expected {} bytes", path.string(), contents.size(), *bytes);
  const std::string found = sha256(std::as_bytes(std::span(contents)));
  if (found != hash)
    throw InputError("{}: its {} bytes were changed: their sha256 is {}, expected {}", path.string(), contents.size(),
                     found, hash);
  return contents;
}

std::string seal_of(const fs::path& folder) {
  const fs::path path = folder / seal_file;
  const std::vector<uint8_t> bytes = read_file(path);
  const std::string text(bytes.begin(), bytes.end());
  constexpr size_t digits = 64;
  if (text.size() != digits + 2 + std::string_view(manifest_file).size() + 1)
    throw InputError("{}: has {} bytes, expected a sha256 and the name {}", path.string(), text.size(), manifest_file);
  return text.substr(0, digits);
}

/// An entry that differs, and "optimizer/lr is 0.1 in the checkpoint, 0.2 in this run".
struct Difference {
  std::string key, text;
};

/// The first; empty where nothing differs.
Difference difference(const Json& stored, const Json& mine) {
  const auto leaves = [](const Json& json) {
    std::map<std::string, Json> all;
    const Json flat = json.flatten();
    for (const auto& [pointer, value] : flat.items()) all.emplace(pointer.substr(1), value);
    return all;
  };
  const auto there = leaves(stored), here = leaves(mine);
  const auto told = [&](const std::string& key) -> Difference {
    const auto text = [&](const auto& all) {
      const auto found = all.find(key);
      return found == all.end() ? "missing" : found->second.dump();
    };
    return {key, fmt::format("{} is {} in the checkpoint, {} in this run", key, text(there), text(here))};
  };
  // In this run's order, which has the general before the special.
  const Json ordered = mine.flatten();
  for (const auto& [pointer, value] : ordered.items())
    if (const auto found = there.find(pointer.substr(1)); found == there.end() || found->second != value)
      return told(pointer.substr(1));
  for (const auto& [key, value] : there)
    if (!here.contains(key)) return told(key);
  return {};
}

}  // namespace

StoredCheckpoint::StoredCheckpoint(fs::path folder) : folder_(std::move(folder)) {
  const fs::path path = folder_ / manifest_file;
  const std::vector<uint8_t> text = read_sealed(path, {}, seal_of(folder_));
  manifest_ = Json::parse(text.begin(), text.end(), nullptr, false);
  if (!manifest_.is_object() || manifest_.value("format", "") != format)
    throw InputError("{}: is no manifest of a {}", path.string(), format);
  if (const int found = manifest_.value("version", 0); found != version)
    throw InputError("{}: version {}, expected {}; it was written by Lockstep {}", path.string(), found, version,
                     manifest_.value("lockstep", "?"));
  try {
    for (const char* name : {weights_file, optimizer_file, callbacks_file}) {
      const Json& file = manifest_.at("files").at(name);
      files_[name] =
          read_sealed(folder_ / name, file.at("bytes").get<uint64_t>(), file.at("sha256").get<std::string>());
    }
  } catch (const Json::exception& error) {
    throw InputError("{}: {}", path.string(), error.what());
  }
}

void StoredCheckpoint::expect(const Json& configuration) const {
  const auto [key, text] = difference(manifest_.at("configuration"), configuration);
  if (!key.empty())
    throw OtherConfiguration(
        fmt::format("{}: {}; a run goes on only with the options that it began with", folder_.string(), text), key);
}

Safetensors StoredCheckpoint::file(const std::string& name) const {
  return {(folder_ / name).string(), files_.at(name)};
}

Weights StoredCheckpoint::weights(const Network& network) const { return read_weights(file(weights_file), network); }

TrainingState StoredCheckpoint::state(const Network& network) const {
  TrainingState state;
  state.weights = weights(network);
  const Safetensors optimizer = file(optimizer_file);
  const std::string owner = fmt::format("the model '{}'", network.name());
  try {
    for (const Json& slot : manifest_.at("slots")) {
      Weights& values = state.slots.emplace_back();
      for (const Variable& variable : network.variables())
        if (variable.trainable)
          values[variable.name] = optimizer.get(variable.name + "/" + slot.get<std::string>(), variable.shape, owner);
    }
    const auto scale = optimizer.get(std::string(loss_scale_name), loss_scale_shape, owner);
    state.loss_scale = LossScale{scale[0], scale[1]};
    state.steps_done = manifest_.at("step").get<int64_t>();
    state.epochs_done = manifest_.at("epoch").get<int64_t>();
    const Json& fit = manifest_.at("fit");
    state.fit = {.steps = fit.at("steps").get<int64_t>(),
                 .epochs = fit.at("epochs").get<int64_t>(),
                 .step_in_epoch = manifest_.at("step_in_epoch").get<int64_t>(),
                 .sums = sums_of(manifest_.at("epoch_sums")),
                 .ended = manifest_.contains("last_epoch_sums") ? sums_of(manifest_["last_epoch_sums"]) : EpochSums{}};
    state.lr = manifest_.at("lr").get<float>();
    const Safetensors kept = file(callbacks_file);
    for (const Json& callback : manifest_.at("callbacks")) {
      CallbackState mine{callback.at("state").get<std::string>()};
      if (callback.at("weights").get<bool>())
        for (const Variable& variable : network.variables())
          mine.weights[variable.name] =
              kept.get(callback_key(state.callbacks.size(), variable.name), variable.shape, owner);
      state.callbacks.emplace_back(callback.at("name").get<std::string>(), std::move(mine));
    }
  } catch (const Json::exception& error) {
    throw InputError("{}: {}", (folder_ / manifest_file).string(), error.what());
  }
  return state;
}

namespace {

/// The newest good checkpoint beside `bad`, of those before it first; empty where there is none.
fs::path good_beside(const fs::path& bad) {
  auto all = list_checkpoints(bad.parent_path());
  std::ranges::sort(all, std::greater{}, [&](const fs::path& one) {
    return std::pair(checkpoint_step(one) < checkpoint_step(bad), checkpoint_step(one));
  });
  for (const fs::path& one : all) {
    if (one == bad) continue;
    try {
      static_cast<void>(StoredCheckpoint(one));
      return one;
    } catch (const InputError&) {
      continue;  // broken as well
    }
  }
  return {};
}

}  // namespace

StoredCheckpoint open_checkpoint(const fs::path& path) {
  const fs::path found = find_checkpoint(path);
  try {
    return StoredCheckpoint(found);
  } catch (const InputError& error) {
    const fs::path good = good_beside(found);
    if (good.empty()) throw InputError("{}; there is no good checkpoint beside it", error.what());
    throw InputError("{}; the newest good checkpoint beside it is {}: to go on from there, --resume {}", error.what(),
                     checkpoint_name(checkpoint_step(good)), good.string());
  }
}

Weights load_weights(const fs::path& path, const Network& network) {
  if (fs::is_directory(path)) return open_checkpoint(path).weights(network);
  return read_weights(path.string(), network);
}

}  // namespace lockstep
