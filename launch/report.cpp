#include "launch/report.h"

namespace lockstep {

std::vector<std::pair<std::string, double>> measures(const Report& report) {
  std::vector<std::pair<std::string, double>> all{{"loss", double{report.loss}}, {"accuracy", double{report.accuracy}}};
  if (report.validation) {
    all.emplace_back("val_loss", report.validation->loss);
    all.emplace_back("val_accuracy", report.validation->accuracy);
  }
  return all;
}

}  // namespace lockstep
