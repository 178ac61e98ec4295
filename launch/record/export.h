// Weights as other frameworks lay them out and name them. Any thread.
#pragma once

#include <string>
#include <vector>

#include "launch/plan/variables.h"

namespace lockstep {

/// Whose names and layouts.
enum class ExportFormat {
  /// PyTorch, for its layers called as ours are: "<layer>.weight" and ".bias", of batch norm ".running_mean" and
  /// ".running_var" too; convolutions' kernels [K, C, R, S] (transposed ones [C, K, R, S]), dense kernels [units,
  /// inputs]. A separable convolution's two kernels are "<layer>.depthwise.weight" and "<layer>.pointwise.weight";
  /// PReLU's slopes are [C] where they are shared by the pixels, else [C, H, W], which nn.PReLU has not. Images are
  /// flattened channels first there: what follows a Flatten, or a Reshape to one dimension, has its inputs in that
  /// order.
  torch,
  /// Keras: "<layer>/kernel" and so on; convolutions' kernels [R, S, C, K] (depthwise [R, S, C, M], transposed [R, S,
  /// K, C]), dense kernels [inputs, units].
  keras,
};

/// "torch" or "keras". Throws InputError with the nearest name.
ExportFormat export_format_from_name(const std::string& name);
const std::vector<std::string>& export_format_names();

struct ExportedTensor {
  std::string name;
  Shape shape;
  std::vector<float> values;
};

/// All variables, in the network's order. Throws InputError for a network that the format cannot express, with the
/// layer: where features of a flattened image, which PyTorch orders otherwise, reach a layer that mixes them with
/// others.
std::vector<ExportedTensor> export_weights(const Network& network, const Weights& weights, ExportFormat format);

}  // namespace lockstep
