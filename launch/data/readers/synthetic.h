// Made-up images of any size that a network can learn, computed as they are read: nothing to download, nothing to keep.
#pragma once

#include "launch/data/dataset.h"

namespace lockstep {

/// `spec` is HxWxC/CLASSES/COUNT[/TESTCOUNT]; TESTCOUNT defaults to a fifth of COUNT, at least 1. Every image is its
/// class's stripes, across and along, plus uniform noise: a pure function of the spec and the index. Sample i has class
/// i mod CLASSES. Throws InputError that shows the form. Its content hash is that of the spec: equal specs, equal
/// images.
Data open_synthetic(const std::string& spec);

}  // namespace lockstep
