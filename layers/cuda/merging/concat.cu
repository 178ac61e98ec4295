#include "layers/merging/concat.h"

#include <numeric>

#include "layers/cuda/context.h"
#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

namespace {

/// A strided block of bytes: `rows` rows of `width` bytes, `from_pitch` and `to_pitch` bytes apart.
struct Strided {
  int64_t rows = 0, width = 0, from_pitch = 0, to_pitch = 0;
};

/// A thread an element of `Unit`; here `columns` counts these, not bytes.
template <class Unit>
__global__ void copy_columns_kernel(Unit* to, const Unit* from, Strided columns) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= columns.rows * columns.width) return;
  const int64_t row = i / columns.width, column = i - row * columns.width;
  to[row * columns.to_pitch + column] = from[row * columns.from_pitch + column];
}

template <class Unit>
void copy_units(Stream& stream, std::byte* to, const std::byte* from, const Strided& bytes) {
  constexpr int64_t size = sizeof(Unit);
  const Strided units{bytes.rows, bytes.width / size, bytes.from_pitch / size, bytes.to_pitch / size};
  launch(stream, {blocks_for(units.rows * units.width)}, copy_columns_kernel<Unit>, reinterpret_cast<Unit*>(to),
         reinterpret_cast<const Unit*>(from), units);
}

/// Copies the block from and to these byte offsets of tensors, in the largest units that all of it allows.
void copy_columns(Stream& stream, std::byte* to, int64_t to_offset, const std::byte* from, int64_t from_offset,
                  const Strided& bytes) {
  if (bytes.rows == 0 || bytes.width == 0) return;
  int64_t unit = 16;
  for (const int64_t size : {to_offset, from_offset, bytes.width, bytes.from_pitch, bytes.to_pitch})
    unit = std::gcd(unit, size);
  to += to_offset;
  from += from_offset;
  if (unit == 16)
    copy_units<Pack<uint32_t, 4>>(stream, to, from, bytes);
  else if (unit == 8)
    copy_units<Pack<uint32_t, 2>>(stream, to, from, bytes);
  else if (unit == 4)
    copy_units<uint32_t>(stream, to, from, bytes);
  else
    copy_units<uint16_t>(stream, to, from, bytes);
}

int64_t row_bytes(const Type& type) { return type.shape[-1] * static_cast<int64_t>(size_of(type.dtype)); }

int64_t rows_of(const Type& type) { return type.shape.elements() / std::max<int64_t>(type.shape[-1], 1); }

}  // namespace

Kernel make(const ConcatOp&, const Signature& signature, const SharedContext&) {
  const Type& y = signature.out[0];
  std::vector<int64_t> widths;
  for (const Type& in : signature.in) widths.push_back(row_bytes(in));
  return {.run = [rows = rows_of(y), pitch = row_bytes(y), widths](Stream& stream, const Args& args) {
    int64_t offset = 0;
    for (size_t k = 0; k < widths.size(); ++k) {
      copy_columns(stream, args.out[0].data, offset, args.in[k].data, 0, {rows, widths[k], widths[k], pitch});
      offset += widths[k];
    }
  }};
}

Kernel make(const SliceOp& op, const Signature& signature, const SharedContext&) {
  const Type &x = signature.in[0], &y = signature.out[0];
  const int64_t first = op.begin * static_cast<int64_t>(size_of(x.dtype));
  const Strided columns{rows_of(x), row_bytes(y), row_bytes(x), row_bytes(y)};
  return {.run = [=](Stream& stream, const Args& args) {
    copy_columns(stream, args.out[0].data, 0, args.in[0].data, first, columns);
  }};
}

}  // namespace lockstep::cuda
