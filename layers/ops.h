// Every operator and layer in one include.
#pragma once

#include "layers/conv2d.h"
#include "layers/dense.h"
#include "layers/batch_norm.h"
#include "layers/dropout.h"
#include "layers/optimizers/adam.h"
#include "layers/optimizers/moving_average.h"
#include "layers/optimizers/sgd.h"
