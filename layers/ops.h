// Every operator and layer in one include.
#pragma once

#include "layers/conv2d.h"
#include "layers/dense.h"
