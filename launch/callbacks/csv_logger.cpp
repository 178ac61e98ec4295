#include "launch/callbacks/csv_logger.h"

#include <fmt/ranges.h>

#include <map>

#include "launch/record/metrics.h"

namespace lockstep {

void CSVLogger::on_train_begin(Training&) {
  if (!file_) file_.emplace(path_, options_.append ? AppendFile::If::exists_append : AppendFile::If::exists_refuse);
}

void CSVLogger::on_epoch_end(Training& training, const Report& report) {
  std::vector<std::string> names{"epoch"}, values{std::to_string(report.epoch)};
  for (const auto& [name, value] : measures(report)) {
    names.push_back(name);
    values.push_back(shortest(value));
  }
  if (training.validates() && !report.validation)
    for (const auto& [name, value] : measures(report)) {
      names.push_back("val_" + name);
      values.emplace_back("NA");
    }
  names.emplace_back("lr");
  values.push_back(shortest(double{report.lr}));
  const std::string header = fmt::format("{}\n", fmt::join(names, options_.separator));
  file_->write((file_->size() == 0 ? header : "") + fmt::format("{}\n", fmt::join(values, options_.separator)));
}

}  // namespace lockstep
