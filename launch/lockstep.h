// The one header that a program includes: layers, models, data, and running them on ranks.
#pragma once

#include "core/error.h"
#include "launch/data/open.h"
#include "launch/model.h"
#include "layers/ops.h"
#include "layers/zoo/zoo.h"
