// What a data set's samples are to be predicted as, in the form that a loss takes. Immutable: any thread.
#pragma once

#include <string>

#include "launch/data/dataset.h"
#include "layers/losses/loss.h"

namespace lockstep {

/// Throws InputError that names both where the loss, of predictions that are of this shape for one sample, cannot be
/// taken of the data's targets. Class indices are taken by losses of classes whatever these compare with, and of two
/// classes by binary losses of one number.
void check_targets(const Dataset& data, const Loss& loss, const Shape& prediction, const std::string& model);

/// Writes a data set's targets into batches.
class Targets {
 public:
  /// `wanted` is of one sample, and one that check_targets lets pass. Class indices that become numbers are a row of
  /// zeros with a one, or where the row has one number, that number.
  Targets(const Dataset& data, const Type& wanted) : data_(data), given_(data.target()), wanted_(wanted) {}

  /// Whether a sample's target is the class index that Dataset::read returns, as it is.
  bool plain() const { return wanted_ == one_class() && given_ == one_class(); }
  const Type& wanted() const { return wanted_; }
  /// Of Batch::targets, for one sample: none where it is plain.
  size_t bytes() const { return plain() ? 0 : wanted_.bytes(); }
  /// Writes the target of `sample`, `bytes` bytes; `label` is what Dataset::read has returned. Throws InputError for a
  /// class index outside the data's classes.
  void write(std::span<std::byte> to, int64_t sample, int32_t label) const;

  static Type one_class() { return {Shape{}, DType::i32}; }

 private:
  void check_label(int64_t sample, int32_t label) const;

  const Dataset& data_;
  Type given_, wanted_;
};

}  // namespace lockstep
