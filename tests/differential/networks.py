"""Draws networks: JSON models of all layers with random options, with the shapes that they have."""

import math

CHANNELS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 20, 23, 24]
CURVES = ["relu", "sigmoid", "tanh", "silu", "gelu", "elu", "leaky_relu", "relu6", "hard_sigmoid", "hard_silu"]
MOST = 6000  # values of a sample


class Drawing:
    """A network under way: its layers, and the shape of the last one's output."""

    def __init__(self, random, image, dropout=True):
        self.r, self.layers, self.shape, self.dropout = random, [], list(image), dropout
        self.add("Input", image, shape=list(image))

    def add(self, kind, output, inputs=None, **options):
        name = f"{kind.lower()}{len(self.layers)}"
        layer = {"type": kind, "name": name, **{k: v for k, v in options.items() if v is not None}}
        if inputs or self.layers:
            layer["inputs"] = inputs or [self.at]
        self.layers.append(layer)
        self.shape, self.at = list(output), name

    def go_to(self, name, shape):
        self.at, self.shape = name, list(shape)

    # Options

    def chance(self, p):
        return self.r.random() < p

    def regularizer(self):
        if not self.chance(0.15):
            return None
        kinds = [{"l1": self.number(1e-3, 2e-2)}, {"l2": self.number(1e-3, 5e-2)}]
        return self.r.choice(kinds + [{**kinds[0], **kinds[1]}])

    def number(self, low, high):
        return float(f"{self.r.uniform(low, high):.3g}")

    def size(self, most, odd=False):
        height, width = (min(self.r.choice([1, 2, 3, 3, 3, 4, 5, 7]), n) for n in most)
        return [height, width]

    def sizes(self, choices):
        one = self.r.choice(choices)
        return one if self.chance(0.5) else [one, self.r.choice(choices)]

    def window(self, pool=False):
        """size, strides, dilation and padding that fit, with the output's rows and columns."""
        while True:
            size = self.size(self.shape[:2]) if not pool else [self.r.choice([1, 2, 2, 2, 3, 3, 5]) for _ in "hw"]
            strides = self.sizes([1, 1, 2, 3] if not pool else [1, 2, 2, 3])
            if pool and self.chance(0.6):
                strides = list(size)
            dilation = 1 if pool or self.chance(0.75) else self.sizes([1, 2, 3])
            if not pool and dilation != 1 and strides != 1 and self.chance(0.7):
                strides = 1
            s, d = both(strides), both(dilation)
            extent = [(k - 1) * by + 1 for k, by in zip(size, d)]
            padding = self.r.choice(["valid", "same", "same", "pixels"])
            if padding == "pixels":
                padding = [[self.r.randrange(min(e, 4)) for _ in "ab"] for e in extent]
            out = [outputs(n, e, by, padding, i) for i, (n, e, by) in enumerate(zip(self.shape, extent, s))]
            if min(out) >= 1:
                return size, strides, dilation, padding, out

    def activation(self):
        return self.r.choice(CURVES) if self.chance(0.4) else None

    # Layers of images

    def conv(self, filters=None, size=None):
        size_, strides, dilation, padding, out = self.window()
        if size:
            size_, strides, dilation, padding, out = [size, size], 1, 1, "same", self.shape[:2]
        channels = self.shape[2]
        filters = filters or self.r.choice(CHANNELS)
        common = [g for g in range(1, 9) if channels % g == 0 and filters % g == 0]
        groups = self.r.choice(common) if self.chance(0.3) else 1
        self.add("Conv2D", [*out, filters], filters=filters, kernel_size=size_, strides=strides, padding=padding,
                 dilation_rate=dilation, groups=groups, use_bias=self.chance(0.8), activation=self.activation(),
                 kernel_regularizer=self.regularizer(), bias_regularizer=self.regularizer())

    def depthwise(self):
        size, strides, dilation, padding, out = self.window()
        times = self.r.choice([1, 1, 2, 3]) if self.shape[2] < 12 else 1
        options = dict(kernel_size=size, strides=strides, padding=padding, dilation_rate=dilation,
                       depth_multiplier=times, use_bias=self.chance(0.8), activation=self.activation(),
                       depthwise_regularizer=self.regularizer(), bias_regularizer=self.regularizer())
        if self.chance(0.5):
            self.add("DepthwiseConv2D", [*out, self.shape[2] * times], **options)
        else:
            filters = self.r.choice(CHANNELS)
            self.add("SeparableConv2D", [*out, filters], filters=filters, **options,
                     pointwise_regularizer=self.regularizer())

    def transpose(self):
        size, strides = self.size([5, 5]), self.sizes([1, 2, 2, 3])
        dilation = 1 if self.chance(0.8) else 2
        padding = self.r.choice(["valid", "same", "pixels"])
        more = -1
        s, d = both(strides), both(dilation)
        extent = [(k - 1) * by + 1 for k, by in zip(size, d)]
        if padding == "pixels":
            padding = [[self.r.randrange(min(e, 3)) for _ in "ab"] for e in extent]
        if self.chance(0.3):
            more = [self.r.randrange(by) for by in s]
        out = []
        for i, (n, e, by) in enumerate(zip(self.shape, extent, s)):
            covered, extra = (n - 1) * by + e, both(more)[i]
            if isinstance(padding, list):
                out.append(covered - sum(padding[i]) + max(extra, 0))
            elif extra < 0:
                out.append(n * by if padding == "same" else covered + max(by - e, 0))
            else:
                out.append(covered - (e // 2 * 2 if padding == "same" else 0) + extra)
        filters = self.r.choice(CHANNELS[:12])
        if min(out) < 1 or out[0] * out[1] * filters > MOST:
            return self.conv()
        self.add("Conv2DTranspose", [*out, filters], filters=filters, kernel_size=size, strides=strides,
                 padding=padding, output_padding=more, dilation_rate=dilation, use_bias=self.chance(0.8),
                 activation=self.activation(), kernel_regularizer=self.regularizer(),
                 bias_regularizer=self.regularizer())

    def pool(self):
        size, strides, _, padding, out = self.window(pool=True)
        kind = self.r.choice(["MaxPooling2D", "MaxPooling2D", "AveragePooling2D"])
        if strides == size and self.chance(0.7):
            strides = None
        self.add(kind, [*out, self.shape[2]], pool_size=size, strides=strides, padding=padding)

    def upsample(self):
        by = self.sizes([1, 2, 3])
        out = [n * f for n, f in zip(self.shape, both(by))]
        if out[0] * out[1] * self.shape[2] <= MOST:
            self.add("UpSampling2D", [*out, self.shape[2]], size=by,
                     interpolation=self.r.choice(["nearest", "bilinear"]))

    def zeros(self):
        p = [[self.r.randrange(3) for _ in "ab"] for _ in "hw"]
        self.add("ZeroPadding2D", [self.shape[0] + sum(p[0]), self.shape[1] + sum(p[1]), self.shape[2]], padding=p)

    # Layers of anything

    def norm(self):
        kind = self.r.choice(["BatchNormalization"] * 3 + ["LayerNormalization", "GroupNormalization"])
        options = dict(epsilon=self.r.choice([None, 1e-5, 1e-2]), gamma_regularizer=self.regularizer(),
                       beta_regularizer=self.regularizer())
        if kind == "BatchNormalization":
            options["momentum"] = self.r.choice([None, 0.9, 0.5])
        if kind == "GroupNormalization":
            c = self.shape[-1]
            options["groups"] = self.r.choice([-1] + [g for g in range(1, c + 1) if c % g == 0])
            if math.prod(self.shape[:-1]) == 1 and options["groups"] in (-1, c):
                return  # one value a group: its gradient is 0, and what rounding leaves of that is what Adam follows
        if kind == "LayerNormalization" and self.shape[-1] < 3:
            return
        self.add(kind, self.shape, **options)

    def curve(self):
        kind = self.r.choice(["ReLU", "ReLU", "LeakyReLU", "PReLU", "PReLU", "ELU", "GELU", "SiLU", "Activation",
                              "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Softmax"])
        options = {}
        if kind == "ReLU" and self.chance(0.5):
            options = dict(max_value=self.r.choice([None, 1.0, 6.0]), negative_slope=self.r.choice([None, 0.1, 0.25]),
                           threshold=self.r.choice([None, 0.25]))
        if kind == "LeakyReLU":
            options = dict(negative_slope=self.r.choice([None, 0.01, 0.2]))
        if kind == "ELU":
            options = dict(alpha=self.r.choice([None, 0.5, 1.5]))
        if kind == "GELU":
            options = dict(approximate=self.chance(0.5))
        if kind == "Activation":
            options = dict(activation=self.r.choice(CURVES + ["linear"]))
        if kind == "PReLU":
            shared = self.r.randrange(3) if len(self.shape) == 3 else 0
            options = dict(shared_axes=[1, 2][:shared] or None, alpha_regularizer=self.regularizer())
        if kind == "Softmax" and (self.chance(0.7) or self.shape[-1] < 2):
            kind = "Tanh"
        self.add(kind, self.shape, **options)

    def drop(self):
        if self.dropout:
            spatial = len(self.shape) == 3 and self.chance(0.5)
            self.add("SpatialDropout2D" if spatial else "Dropout", self.shape, rate=self.r.choice([0.1, 0.25, 0.5]))

    def move(self):
        if len(self.shape) == 3:
            dims = self.r.choice([[2, 1, 3], [1, 3, 2], [3, 1, 2]])
            if self.chance(0.5):
                self.add("Permute", [self.shape[i - 1] for i in dims], dims=dims)
            elif self.shape[1] * self.shape[2] <= 24:
                self.add("Reshape", [self.shape[0], 1, self.shape[1] * self.shape[2]],
                         target_shape=[self.shape[0], 1, -1])

    # Branches

    def merge(self):
        start, shape = self.at, list(self.shape)
        kind = self.r.choice(["Add", "Add", "Subtract", "Average", "Multiply", "Maximum", "Minimum", "Concatenate"])
        ends = [start] if self.chance(0.6) and kind != "Concatenate" else []
        wanted = 2 if kind in ("Subtract", "Concatenate") or self.chance(0.7) else 3
        of_images = len(shape) == 3
        while len(ends) < wanted:
            self.go_to(start, shape)
            if of_images:
                self.conv(shape[2] if kind != "Concatenate" else self.r.choice(CHANNELS[:9]), self.r.choice([1, 3]))
            else:
                self.dense(shape[0])
            if self.chance(0.4):
                self.norm()
            ends.append(self.at)
        out = list(shape)
        if kind == "Concatenate":
            by_name = {layer["name"]: layer for layer in self.layers}
            out[-1] = sum(channels_of(by_name, end) for end in ends)
        self.add(kind, out, inputs=ends)

    def gate(self):
        """Squeeze and excitation."""
        start, shape = self.at, list(self.shape)
        if len(shape) != 3 or shape[0] * shape[1] == 1:
            return
        self.add(self.r.choice(["GlobalAveragePooling2D", "GlobalMaxPooling2D"]), shape[2:])
        self.add("Reshape", [1, 1, shape[2]], target_shape=[1, 1, shape[2]])
        self.add("Conv2D", [1, 1, shape[2]], filters=shape[2], kernel_size=1, activation="sigmoid")
        self.add("Multiply", shape, inputs=[start, self.at])

    def dense(self, units=None, activation=None):
        units = units or self.r.choice(CHANNELS[1:])
        self.add("Dense", [units], units=units, activation=activation or self.activation(),
                 use_bias=self.chance(0.8), kernel_regularizer=self.regularizer(), bias_regularizer=self.regularizer())


def both(value):
    return list(value) if isinstance(value, list) else [value, value]


def outputs(length, extent, stride, padding, direction):
    if padding == "same":
        return -(-length // stride)
    around = sum(padding[direction]) if isinstance(padding, list) else 0
    return (length + around - extent) // stride + 1


def channels_of(by_name, name):
    layer = by_name[name]
    if "units" in layer or "filters" in layer:
        return layer.get("units") or layer["filters"]
    return channels_of(by_name, layer["inputs"][0])


def draw_network(random, image, outputs_, end, dropout=True, images=False):
    """A model of [H, W, C] images that ends in `outputs_` numbers, of each pixel where `images`, and in `end`: softmax,
    sigmoid or linear. Also the shape of its outputs."""
    d = Drawing(random, image, dropout)
    of_images = [d.conv] * 5 + [d.depthwise] * 2 + [d.transpose] + [d.pool] * 4 + [d.upsample, d.zeros, d.gate, d.move]
    anything = [d.norm] * 4 + [d.curve] * 5 + [d.drop] + [d.merge] * 2
    for _ in range(random.randint(2, 8)):
        if d.shape[0] * d.shape[1] * d.shape[2] > MOST:
            d.pool()
        random.choice(of_images + anything)()
    while d.shape[0] * d.shape[1] * d.shape[2] > 1200:
        d.pool()
        d.conv()
    layer = end in ("softmax", "sigmoid") and d.chance(0.4)
    activation = "linear" if layer else end
    if images:
        d.add("Conv2D", [*d.shape[:2], outputs_], filters=outputs_, kernel_size=1, activation=activation)
    else:
        kind = random.choice(["Flatten", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"])
        d.add(kind, [d.shape[0] * d.shape[1] * d.shape[2]] if kind == "Flatten" else d.shape[2:])
        for _ in range(random.randint(0, 3)):
            random.choice([d.dense] * 3 + [d.norm, d.curve, d.drop, d.merge])()
        d.dense(outputs_, activation)
    if layer:
        kind = random.choice(["Activation", end.capitalize()])
        d.add(kind, d.shape, activation=end if kind == "Activation" else None)
    return {"name": "drawn", "layers": d.layers}, d.shape
