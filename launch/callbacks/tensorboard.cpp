#include "launch/callbacks/tensorboard.h"

#include "core/error.h"

namespace lockstep {

namespace {

Scalars scalars(const Report& report, const std::string& prefix) {
  Scalars all;
  for (const auto& [name, value] : measures(report))
    all.emplace_back((name.starts_with("val_") ? "" : prefix) + name, static_cast<float>(value));
  all.emplace_back(prefix + "lr", report.lr);
  all.emplace_back(prefix + "images_per_second", static_cast<float>(report.images_per_second));
  return all;
}

}  // namespace

TensorBoard::TensorBoard(std::filesystem::path folder, TensorBoardOptions options)
    : folder_(std::move(folder)), options_(options) {
  for (const auto& [name, number] :
       {std::pair{"update_freq", options.update_freq}, {"histogram_freq", options.histogram_freq}})
    if (number < 0) throw InputError("TensorBoard: {} is {}, expected a number from 0", name, number);
}

void TensorBoard::on_train_begin(Training&) { file_.emplace(folder_); }

void TensorBoard::on_step_end(Training&, const Report& report) {
  if (options_.update_freq > 0 && (report.step + 1) % options_.update_freq == 0)
    file_->scalars(report.step, scalars(report, ""));
}

void TensorBoard::on_epoch_end(Training& training, const Report& report) {
  file_->scalars(report.epoch, scalars(report, "epoch_"));
  if (options_.histogram_freq == 0 || (report.epoch + 1) % options_.histogram_freq != 0) return;
  std::vector<std::pair<std::string, Histogram>> all;
  for (const auto& [name, values] : training.weights()) all.emplace_back(name, histogram(values));
  file_->histograms(report.epoch, all);
}

}  // namespace lockstep
