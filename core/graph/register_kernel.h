// Kernels of operators that a program brings. Registering is for the main thread, before a model is made.
#pragma once

#include <functional>
#include <string>
#include <typeindex>

#include "core/graph/kernel.h"

namespace lockstep {

/// Throws InputError where the operator has a kernel for this backend already, and for a backend that is not one of
/// "cpu" and "cuda".
void register_kernel(const std::string& backend, std::type_index op, KernelTable::Make make);

/// How to make the kernel of an operator of the class Op for a backend: "cpu" or "cuda". `make` is a
/// Kernel(const Op&, const Signature&), called at each rank when its step is planned.
template <class OpClass, class Function>
void register_kernel(const std::string& backend, Function make) {
  register_kernel(backend, typeid(OpClass), [make = std::move(make)](const Op& op, const Signature& signature) {
    return make(static_cast<const OpClass&>(op), signature);
  });
}

/// For a backend's table: makes those that were registered. Throws InputError that names the operator and the backend
/// where there is none.
KernelTable::Make registered_kernels(const std::string& backend);

}  // namespace lockstep
