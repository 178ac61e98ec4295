"""A JSON model in PyTorch: what Lockstep's documentation says of each layer, by torch.nn.functional. Values are
channels-last, as there; computed in the dtype of the weights. Normalisation over the batch is over each lane."""

import torch
import torch.nn.functional as F

from randoms import DROPOUT, Random

ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "softmax": lambda x: torch.softmax(x, -1),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "swish": F.silu,
    "gelu": F.gelu,
    "elu": F.elu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "relu6": F.relu6,
    "hard_sigmoid": F.hardsigmoid,
    "hard_silu": F.hardswish,
    "hard_swish": F.hardswish,
}


def pair(value):
    return tuple(value) if isinstance(value, list) else (value, value)


def planes(x):  # [N, H, W, C] to PyTorch's order
    return x.permute(0, 3, 1, 2)


def pixels(x):
    return x.permute(0, 2, 3, 1)


def sides(layer, size, strides, dilation, lengths):
    """Padding (before, after) of rows and of columns."""
    padding = layer.get("padding", "valid")
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        result = []
        for k, s, d, length in zip(size, strides, dilation, lengths):
            extent = (k - 1) * d + 1
            total = max((-(-length // s) - 1) * s + extent - length, 0)
            result.append((total // 2, total - total // 2))
        return tuple(result)
    if not isinstance(padding, list):
        return (padding, padding), (padding, padding)
    return pair(padding[0]), pair(padding[1])


def padded(x, rows, columns, value=0.0):  # x as PyTorch has it
    return F.pad(x, (*columns, *rows), value=value)


def convolve(layer, x, weight, bias, groups):
    strides, dilation = pair(layer.get("strides", 1)), pair(layer.get("dilation_rate", 1))
    around = sides(layer, pair(layer["kernel_size"]), strides, dilation, x.shape[1:3])
    y = F.conv2d(padded(planes(x), *around), planes(weight), bias, strides, 0, dilation, groups)
    return pixels(y)


def transposed(layer, x, weight, bias):
    strides, dilation = pair(layer.get("strides", 1)), pair(layer.get("dilation_rate", 1))
    size, more = pair(layer["kernel_size"]), pair(layer.get("output_padding", -1))
    padding = layer.get("padding", "valid")
    full = F.conv_transpose2d(planes(x), planes(weight), None, strides, 0, 0, 1, dilation)
    for d in (0, 1):
        extent, covered, p = (size[d] - 1) * dilation[d] + 1, full.shape[2 + d], x.shape[1 + d]
        before = 0
        if padding == "same":
            length = p * strides[d] if more[d] < 0 else covered - extent // 2 * 2 + more[d]
            before = max(covered - length, 0) // 2
        elif padding == "valid":
            length = covered + (max(strides[d] - extent, 0) if more[d] < 0 else more[d])
        else:
            before, after = sides(layer, size, strides, dilation, x.shape[1:3])[d]
            length = covered - before - after + max(more[d], 0)
        missing = (0, max(before + length - covered, 0))
        full = padded(full, missing if d == 0 else (0, 0), missing if d == 1 else (0, 0))
        full = full.narrow(2 + d, before, length)
    return pixels(full) + (0 if bias is None else bias)


def max_pool(layer, x, size, strides):
    around = sides(layer, size, strides, (1, 1), x.shape[1:3])
    return pixels(F.max_pool2d(padded(planes(x), *around, value=-torch.inf), size, strides))


def average_pool(layer, x, size, strides):
    around = sides(layer, size, strides, (1, 1), x.shape[1:3])
    ones = padded(torch.ones_like(planes(x)), *around)
    return pixels(F.avg_pool2d(padded(planes(x), *around), size, strides) / F.avg_pool2d(ones, size, strides))


def relu(layer, x):
    top, slope, threshold = layer.get("max_value"), layer.get("negative_slope", 0), layer.get("threshold", 0)
    y = torch.where(x > threshold, x, slope * (x - threshold)) if threshold or slope else torch.relu(x)
    return y if top is None else torch.where(x < top, y, torch.full_like(y, top))


def merged(kind, inputs):
    first, rest = inputs[0], inputs[1:]
    if kind == "Add":
        return sum(rest, first)
    if kind == "Average":
        return sum(rest, first) / len(inputs)
    if kind == "Subtract":
        return first - rest[0]
    if kind == "Concatenate":
        return torch.cat(inputs, -1)
    for x in rest:
        if kind == "Multiply":
            first = first * x
        else:  # of equal values, the first has the gradient
            first = torch.where(first >= x if kind == "Maximum" else first <= x, first, x)
    return first


def normalised(x, dims, epsilon, noise=None):
    if noise and x.requires_grad:
        return Normalised.apply(x, dims, epsilon, noise)
    mean = x.mean(dims, keepdim=True)
    variance = ((x - mean) ** 2).mean(dims, keepdim=True)
    return (x - mean) / torch.sqrt(variance + epsilon)


class Normalised(torch.autograd.Function):
    """As libraries compute it, PyTorch's own operators too: with a mean that is rounded, backward as well."""

    @staticmethod
    def forward(ctx, x, dims, epsilon, noise):
        mean = x.mean(dims, keepdim=True)
        mean = mean * (1 + noise(mean) / 2)
        deviation = x - mean
        inverse = (((x - x.mean(dims, keepdim=True)) ** 2).mean(dims, keepdim=True) + epsilon) ** -0.5
        ctx.dims = dims
        ctx.save_for_backward(deviation, inverse)
        return deviation * inverse

    @staticmethod
    def backward(ctx, dy):
        deviation, inverse = ctx.saved_tensors
        slope = (dy * deviation).mean(ctx.dims, keepdim=True) * inverse**2
        return inverse * (dy - dy.mean(ctx.dims, keepdim=True) - deviation * slope), None, None, None


class Step:
    """Where a forward pass is: of evaluation, or of a training step with its lanes (numbers of samples, by lane)."""

    def __init__(self, training, lanes=(), seed=0, step=0, noise=None, fault=""):
        self.training, self.lanes, self.seed, self.step, self.noise = training, lanes, seed, step, noise
        self.fault = fault
        self.statistics = {}  # by layer: the mean and the unbiased variance of the global batch


def normalised_lane(x, epsilon, step):
    if x.dtype == torch.float64 or x.numel() == x.shape[-1]:
        return normalised(x, tuple(range(x.dim() - 1)), epsilon, step.noise)
    flat = x.reshape(-1, x.shape[-1])
    return F.batch_norm(flat, None, None, training=True, eps=epsilon).reshape(x.shape)  # the yardstick is PyTorch's own


def batch_norm(layer, x, v, step):
    epsilon, name = layer.get("epsilon", 1e-3), layer["name"]
    if not step.training:
        y = (x - v["moving_mean"]) / torch.sqrt(v["moving_variance"] + epsilon)
    else:
        y = torch.cat([normalised_lane(lane, epsilon, step) for lane in x.split([n for n in step.lanes if n])])
        flat = x.detach().reshape(-1, x.shape[-1])
        step.statistics[name] = flat.mean(0), flat.var(0, unbiased=len(flat) > 1)
    return y * v["gamma"] + v["beta"]


def group_norm(layer, x, v, step):
    groups = layer.get("groups", 32)
    groups = x.shape[-1] if groups == -1 else groups
    grouped = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    y = normalised(grouped, (1, 3), layer.get("epsilon", 1e-3), step.noise).reshape(x.shape)
    return y * v["gamma"] + v["beta"]


def dropped(layer, index, x, step, elements):
    """`elements` of a sample share a number each; x broadcasts over what they leave."""
    rate = torch.tensor(layer["rate"], dtype=torch.float32).double()
    numbers = Random(step.seed, DROPOUT, index, step.step).uniform(range(len(x)), elements)
    keep = torch.from_numpy(numbers) >= rate
    return keep.to(x.dtype) / (1 - rate).to(x.dtype)


def compute(layer, index, inputs, v, step):
    """A layer's output of its inputs; `v` are its variables by their names' last part."""
    kind = layer["type"]
    x = inputs[0]
    if kind == "Conv2D":
        return convolve(layer, x, v["kernel"], v.get("bias"), layer.get("groups", 1))
    if kind == "DepthwiseConv2D":
        return convolve(layer, x, v["kernel"], v.get("bias"), x.shape[-1])
    if kind == "SeparableConv2D":
        between = convolve(layer, x, v["depthwise_kernel"], None, x.shape[-1])
        return pixels(F.conv2d(planes(between), planes(v["pointwise_kernel"]), v.get("bias")))
    if kind == "Conv2DTranspose":
        return transposed(layer, x, v["kernel"], v.get("bias"))
    if kind == "Dense":
        return F.linear(x, v["kernel"], v.get("bias"))
    if kind == "BatchNormalization":
        return batch_norm(layer, x, v, step)
    if kind == "LayerNormalization":
        return normalised(x, (-1,), layer.get("epsilon", 1e-3), step.noise) * v["gamma"] + v["beta"]
    if kind == "GroupNormalization":
        return group_norm(layer, x, v, step)
    if kind == "PReLU":
        return torch.where(x > 0, x, v["alpha"] * x)
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        size = pair(layer.get("pool_size", 2))
        strides = pair(layer.get("strides", 0))
        pool = max_pool if kind == "MaxPooling2D" else average_pool
        return pool(layer, x, size, strides if strides != (0, 0) else size)
    if kind == "GlobalAveragePooling2D":
        return x.mean((1, 2))
    if kind == "GlobalMaxPooling2D":
        return F.max_pool2d(planes(x), x.shape[1:3]).reshape(len(x), -1)
    if kind == "ZeroPadding2D":
        return pixels(padded(planes(x), *sides(dict(layer, padding=layer.get("padding", 1)), 0, 0, 0, 0)))
    if kind == "UpSampling2D":
        size = [n * f for n, f in zip(x.shape[1:3], pair(layer.get("size", 2)))]
        if layer.get("interpolation", "nearest") == "nearest":
            return pixels(F.interpolate(planes(x), size))
        return pixels(F.interpolate(planes(x), size, mode="bilinear", align_corners=False))
    if kind == "Dropout":
        return x * dropped(layer, index, x, step, x[0].numel()).reshape(x.shape) if step.training else x
    if kind == "SpatialDropout2D":
        return x * dropped(layer, index, x, step, x.shape[-1])[:, None, None, :] if step.training else x
    if kind == "Flatten":
        return x.reshape(len(x), -1)
    if kind == "Reshape":
        return x.reshape(len(x), *layer["target_shape"])
    if kind == "Permute":
        return x.permute(0, *layer["dims"])
    if kind == "ReLU":
        return relu(layer, x)
    if kind == "LeakyReLU":
        return F.leaky_relu(x, layer.get("negative_slope", 0.3))
    if kind == "ELU":
        alpha = layer.get("alpha", 1)
        return torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0)))
    if kind == "GELU":
        return F.gelu(x, approximate="tanh" if layer.get("approximate") else "none")
    if kind == "Activation":
        return ACTIVATIONS[layer["activation"]](x)
    if kind in ("Softmax", "Sigmoid", "Tanh", "SiLU", "HardSigmoid", "HardSwish"):
        names = {"SiLU": "silu", "HardSigmoid": "hard_sigmoid", "HardSwish": "hard_silu"}
        return ACTIVATIONS[names.get(kind, kind.lower())](x)
    return merged(kind, inputs)


class Noisy(torch.autograd.Function):
    """Rounds to so many bits, so to speak: value and gradient times 1 + a small random number each."""

    @staticmethod
    def forward(ctx, x, noise):
        ctx.noise = noise
        return x * (1 + noise(x))

    @staticmethod
    def backward(ctx, dy):
        return dy * (1 + ctx.noise(dy)), None


def in_order(model):
    """The layers as a network numbers them: each after what it reads, from the output."""
    layers = model["layers"]
    by_name = {layer["name"]: i for i, layer in enumerate(layers)}
    order = []

    def visit(i):
        if i in order:
            return
        for name in inputs_of(layers, i):
            visit(by_name[name])
        order.append(i)

    visit(len(layers) - 1)
    return [layers[i] for i in order]


def inputs_of(layers, i):
    return layers[i].get("inputs", [layers[i - 1]["name"]] if i else [])


def forward(model, weights, x, step):
    """What the network's last activation takes, its output."""
    layers = model["layers"]
    inputs = {layer["name"]: inputs_of(layers, i) for i, layer in enumerate(layers)}
    values, before = {}, {}
    for index, layer in enumerate(in_order(model)):
        name = layer["name"]
        if layer["type"] == "Input":
            values[name] = Noisy.apply(x, step.noise) if step.noise else x
            continue
        own = {key.rsplit("/", 1)[1]: w for key, w in weights.items() if key.rsplit("/", 1)[0] == name}
        y = compute(layer, index, [values[i] for i in inputs[name]], own, step)
        ends = layer["type"] in ("Activation", "Softmax", "Sigmoid")
        before[name] = values[inputs[name][0]] if ends else y
        if layer["type"] != "Activation" and "activation" in layer:
            y = ACTIVATIONS[layer["activation"]](y)
        if step.fault == "pool" and layer["type"] == "MaxPooling2D" and y.requires_grad:
            y.register_hook(lambda dy: torch.cat([dy[..., :-1], 1.01 * dy[..., -1:]], -1))
        if step.noise:
            y = Noisy.apply(y, step.noise)
            if not ends:
                before[name] = Noisy.apply(before[name], step.noise)
        values[name] = y
    last = layers[-1]["name"]
    return before[last], values[last]
