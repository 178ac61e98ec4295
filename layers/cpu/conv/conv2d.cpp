#include "layers/linear/conv2d.h"

#include <algorithm>

#include "layers/cpu/conv/engines.h"
#include "layers/cpu/kernels.h"

namespace lockstep::cpu {

namespace {

constexpr ConvolutionEngine engines[]{
    {"depthwise", suits_depthwise, depthwise},
    {"winograd", suits_winograd, winograd},
    {"eight images", suits_eight_images, eight_images},
    {"few channels", suits_few_channels, few_channels},
    {"oneDNN, pixels taken first", suits_taken_pixels, taken_pixels},
    {"oneDNN", [](const Convolution&) { return true; }, library_convolution},
};

Kernel make(const Convolution& convolution) {
  return std::ranges::find_if(engines, [&](const auto& engine) { return engine.suits(convolution); })
      ->make(convolution);
}

}  // namespace

std::span<const ConvolutionEngine> convolution_engines() { return engines; }

Kernel make(const Conv2dOp& op, const Signature& s) {
  return make({Convolution::Pass::forward, op.conv, s.in[0].shape, s.in[1].shape, s.out[0].shape, op.bias, op.relu});
}

Kernel make(const Conv2dDataGradOp& op, const Signature& s) {
  return make({Convolution::Pass::data_grad, op.conv, s.out[0].shape, s.in[0].shape, s.in[1].shape});
}

Kernel make(const Conv2dWeightGradOp& op, const Signature& s) {
  return make({Convolution::Pass::weight_grad, op.conv, s.in[0].shape, s.out[0].shape, s.in[1].shape, op.bias});
}

}  // namespace lockstep::cpu
