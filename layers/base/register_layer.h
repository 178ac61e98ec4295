// Layers that a program brings. Registering is for the main thread, before a model is read.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "layers/base/layer.h"

namespace lockstep {

using MakeLayer = std::function<std::shared_ptr<Layer>()>;

/// Makes a layer readable from JSON models by its type. In C++ a layer needs no registering. Throws InputError where
/// the type is taken.
void register_layer(const std::string& type, MakeLayer make);
template <class LayerClass>
void register_layer() {
  register_layer(std::string(LayerClass().type()), [] { return std::make_shared<LayerClass>(); });
}

/// All types that JSON models can name.
std::vector<std::string> layer_type_names();

}  // namespace lockstep
