#include "layers/optimizers/formulas/formula.h"

#include <cmath>

#include "core/error.h"

namespace lockstep {

void expect_share(std::string_view formula, std::string_view option, float value) {
  if (!(value >= 0 && value < 1))
    throw InputError("{}: got {} {}, expected 0 <= {} < 1", formula, option, value, option);
}

void expect_from_zero(std::string_view formula, std::string_view option, float value) {
  if (!(value >= 0) || !std::isfinite(value))
    throw InputError("{}: got {} {}, expected 0 or more", formula, option, value);
}

void expect_above_zero(std::string_view formula, std::string_view option, float value) {
  if (!(value > 0) || !std::isfinite(value))
    throw InputError("{}: got {} {}, expected a number above 0", formula, option, value);
}

}  // namespace lockstep
