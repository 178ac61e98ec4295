// Changing the type of elements, for every kernel that stores what it computes in another one. From the rank's thread.
#pragma once

#include "core/dtype.h"
#include "core/stream.h"

namespace lockstep::cuda {

/// out[i] = in[i], n elements of floating-point types, rounded to nearest even. Both start at a multiple of 32 bytes.
void convert(Stream& stream, DType from, const std::byte* in, DType to, std::byte* out, int64_t n);

}  // namespace lockstep::cuda
