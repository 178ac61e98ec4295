// Every operator and layer in one include.
#pragma once

#include "layers/add.h"
#include "layers/avg_pool.h"
#include "layers/batch_norm.h"
#include "layers/concat.h"
#include "layers/conv2d.h"
#include "layers/dense.h"
#include "layers/dropout.h"
#include "layers/flatten.h"
#include "layers/loss.h"
#include "layers/max_pool.h"
#include "layers/optimizers/adam.h"
#include "layers/optimizers/moving_average.h"
#include "layers/optimizers/sgd.h"
#include "layers/relu.h"
#include "layers/softmax.h"
