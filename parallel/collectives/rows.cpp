#include "parallel/collectives/rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/plan/memory.h"

namespace lockstep {

namespace {

/// One image of such a type, of so many rows.
Type image_of(Type type, int64_t rows) {
  type.shape[0] = 1;
  type.shape[1] = rows;
  return type;
}

/// The kernels of the pieces, and what they are called with.
class Rows {
 public:
  Rows(const KernelTable& kernels, const RowsOp& op, const Signature& signature)
      : images_(op.onto ? 1 : 0), in_(signature.in[images_]), out_(signature.out[0]) {
    for (const RowPiece& piece : op.pieces) {
      Signature small{{image_of(in_, piece.in.size())}, {image_of(out_, piece.out.size())}};
      small.in.insert(small.in.end(), signature.in.begin() + images_ + 1, signature.in.end());
      pieces_.push_back({kernels.make(*piece.op, small), piece, packed_, {}, {}});
      for (const Type& type : small.in) pieces_.back().in.push_back({nullptr, type});
      pieces_.back().out.push_back({nullptr, small.out[0]});
      packed_ += aligned(pieces_.back().kernel.packed);
    }
  }

  Kernel kernel(std::shared_ptr<Rows> self) const {
    Kernel all{.packed = packed_};
    bool prepares = false;
    for (const Piece& piece : pieces_) {
      all.workspace = std::max(all.workspace, piece.kernel.workspace);
      all.capturable = all.capturable && piece.kernel.capturable;
      if (piece.kernel.prepare) prepares = true;
    }
    all.run = [self](Stream& stream, const Args& args) { self->run(stream, args); };
    if (prepares) all.prepare = [self](Stream& stream, const Args& args) { self->prepare(stream, args); };
    return all;
  }

 private:
  struct Piece {
    Kernel kernel;
    RowPiece rows;
    size_t packed;  // where its own begins
    std::vector<Tensor> in, out;
  };

  static size_t offset(const Type& type, int64_t image, int64_t row) {
    const size_t row_bytes = type.bytes() / static_cast<size_t>(type.shape[0] * type.shape[1]);
    return static_cast<size_t>(image * type.shape[1] + row) * row_bytes;
  }

  Args bind(Piece& piece, const Args& args, int64_t image) {
    piece.in[0].data = args.in[images_].data + offset(in_, image, piece.rows.in.begin);
    piece.out[0].data = args.out[0].data + offset(out_, image, piece.rows.out.begin);
    for (size_t k = 1; k < piece.in.size(); ++k) piece.in[k].data = args.in[images_ + k].data;
    Args one = args;
    one.in = piece.in;
    one.out = piece.out;
    one.packed = args.packed + piece.packed;
    return one;
  }

  void run(Stream& stream, const Args& args) {
    if (images_ > 0 && args.in[0].data != args.out[0].data)
      stream.copy(args.out[0].data, args.in[0].data, out_.bytes());
    for (Piece& piece : pieces_)
      for (int64_t image = 0; image < out_.shape[0]; ++image) piece.kernel.run(stream, bind(piece, args, image));
  }

  void prepare(Stream& stream, const Args& args) {
    for (Piece& piece : pieces_)
      if (piece.kernel.prepare) piece.kernel.prepare(stream, bind(piece, args, 0));
  }

  size_t images_;  // which input they are
  Type in_, out_;
  std::vector<Piece> pieces_;
  size_t packed_ = 0;
};

}  // namespace

std::string RowsOp::attributes() const {
  std::string text = onto ? "rows" : "interior rows";
  for (const RowPiece& piece : pieces) text += fmt::format(" {}-{}", piece.out.begin, piece.out.end);
  return text + " " + pieces.front().op->attributes();
}

double RowsOp::flops(const Signature& signature) const {
  Signature part{{signature.in.begin() + (onto ? 1 : 0), signature.in.end()}, signature.out};
  double sum = 0;
  for (const RowPiece& piece : pieces) {
    part.in[0].shape[1] = piece.in.size();
    part.out[0].shape[1] = piece.out.size();
    sum += piece.op->flops(part);
  }
  return sum;
}

Kernel RowsOp::make(const Signature& signature, MeshContext& context) const {
  const auto rows = std::make_shared<Rows>(context.kernels, *this, signature);
  return rows->kernel(rows);
}

}  // namespace lockstep
