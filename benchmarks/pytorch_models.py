"""The zoo's models in PyTorch: the same layers and parameters. So is the padding of strided windows, alike on both sides."""

from torch import nn
from torch.nn import functional as F


def seed_cnn(channels, classes):
    def block(inputs, outputs, kernel):
        return [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(channels, 32, 3), *block(32, 64, 3), *block(64, 128, 1),
                         nn.Conv2d(128, classes, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def lenet5(channels, classes):
    return nn.Sequential(nn.Conv2d(channels, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes))


def conv_norm(inputs, outputs, kernel, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


def conv_norm_relu(inputs, outputs, kernel, stride):
    return nn.Sequential(conv_norm(inputs, outputs, kernel, stride), nn.ReLU(inplace=True))


class Residual(nn.Module):
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


def basic_block(inputs, filters, stride, project):
    body = nn.Sequential(conv_norm_relu(inputs, filters, 3, stride), conv_norm(filters, filters, 3, 1))
    return Residual(body, conv_norm(inputs, filters, 1, stride) if project else nn.Identity()), filters


def bottleneck(inputs, filters, stride, project):
    body = nn.Sequential(conv_norm_relu(inputs, filters, 1, 1), conv_norm_relu(filters, filters, 3, stride),
                         conv_norm(filters, 4 * filters, 1, 1))
    return Residual(body, conv_norm(inputs, 4 * filters, 1, stride) if project else nn.Identity()), 4 * filters


def resnet(stem, block, blocks, classes):
    layers, channels = [*stem], 64
    for stage, count in enumerate(blocks):
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            project = index == 0 and (stage > 0 or block is bottleneck)
            layer, channels = block(channels, 64 << stage, stride, project)
            layers.append(layer)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def resnet18(channels, classes):
    return resnet([conv_norm_relu(channels, 64, 3, 1)], basic_block, (2, 2, 2, 2), classes)


def resnet50(channels, classes):
    return resnet([conv_norm_relu(channels, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], bottleneck, (3, 4, 6, 3), classes)


def inverted_residual(inputs, outputs, stride, expand):
    hidden = inputs * expand
    layers = []
    if expand != 1:
        layers += [nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True)]
    layers += [nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden),
               nn.ReLU6(inplace=True), nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
    body = nn.Sequential(*layers)
    return Sum(body) if stride == 1 and inputs == outputs else body


class Sum(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


def mobilenet_v2(channels, classes):
    def conv_norm_relu6(inputs, outputs, kernel, stride):
        return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs),
                nn.ReLU6(inplace=True)]

    layers, width = conv_norm_relu6(channels, 32, 3, 2), 32
    for expand, outputs, count, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                           (6, 160, 3, 2), (6, 320, 1, 1)):
        for index in range(count):
            layers.append(inverted_residual(width, outputs, stride if index == 0 else 1, expand))
            width = outputs
    return nn.Sequential(*layers, *conv_norm_relu6(320, 1280, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Dropout(0.2), nn.Linear(1280, classes))


MODELS = {model.__name__: model for model in (seed_cnn, lenet5, resnet18, resnet50, mobilenet_v2)}
