// Data sets of NumPy's arrays. Any thread may call.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "launch/data/dataset.h"
#include "launch/data/readers/npy.h"

namespace lockstep {

/// Images [N, H, W] or [N, H, W, C] of u1 (read as byte / 255), f4 or f8 (read as they are), and labels [N] or [N, 1]
/// of whole numbers from 0. `classes` is one more than the largest label, and at least `least_classes`. Throws
/// InputError with the array's name.
std::shared_ptr<const Dataset> array_dataset(Array images, Array labels, int least_classes);

/// Where channels lie in arrays of images with four sides: [N, H, W, C], or [N, C, H, W], as PyTorch has them.
enum class Channels { last, first };

/// "IMAGES.npy,LABELS.npy": a training set. Warns where images that are read with channels last look as if these were
/// first: 1 or 3 in the second place, and not in the last.
Data open_npy(const std::string& files, Channels channels = Channels::last);
/// An archive with x_train and y_train, and perhaps x_test and y_test, as Keras' mnist.npz. Warns likewise.
Data open_npz(const std::filesystem::path& file, Channels channels = Channels::last);

}  // namespace lockstep
