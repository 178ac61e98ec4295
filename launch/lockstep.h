// The one header that a program includes: layers, models, data, and running them on ranks.
#pragma once

#include "core/error.h"
#include "core/graph/register_kernel.h"
#include "launch/callbacks/csv_logger.h"
#include "launch/callbacks/early_stopping.h"
#include "launch/callbacks/learning_rate_scheduler.h"
#include "launch/callbacks/model_checkpoint.h"
#include "launch/callbacks/reduce_lr_on_plateau.h"
#include "launch/callbacks/tensorboard.h"
#include "launch/data/readers/open.h"
#include "launch/model/model.h"
#include "layers/base/check.h"
#include "layers/base/register_layer.h"
#include "layers/ops.h"
#include "layers/zoo/zoo.h"
