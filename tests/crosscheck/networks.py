"""SqueezeNet, MobileNetV3 and ConvNeXt, small, written once: ``nn`` is torch.nn or minidl.nn.

What is not the same in both stands in ``Net``: how a list of numbers is averaged or joined.
"""


def fire(nn, net, channels, squeeze, expand):
    """A Fire module (Iandola et al. 2016): squeeze by 1 x 1, then 1 x 1 and 3 x 3 side by side."""

    class Fire(nn.Module):
        def __init__(self):
            super().__init__()
            self.squeeze = nn.Conv2d(channels, squeeze, kernel_size=1)
            self.squeeze_activation = nn.ReLU(inplace=True)
            self.expand1x1 = nn.Conv2d(squeeze, expand, kernel_size=1)
            self.expand1x1_activation = nn.ReLU(inplace=True)
            self.expand3x3 = nn.Conv2d(squeeze, expand, kernel_size=3, padding="same")
            self.expand3x3_activation = nn.ReLU(inplace=True)

        def forward(self, x):
            x = self.squeeze_activation(self.squeeze(x))
            one = self.expand1x1_activation(self.expand1x1(x))
            three = self.expand3x3_activation(self.expand3x3(x))
            return net.cat([one, three], dim=1)

    return Fire()


def squeezenet(nn, net):
    return nn.Sequential(
        nn.Conv2d(3, 8, kernel_size=3, stride=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True),
        fire(nn, net, 8, 4, 8),
        fire(nn, net, 16, 4, 8),
        nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True),
        fire(nn, net, 16, 6, 12),
        nn.Dropout(p=0.5),
        nn.Conv2d(24, 5, kernel_size=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(1),
    )


def squeeze_excitation(nn, channels, squeezed):
    """The means of the channels decide how much each channel counts (Hu et al. 2018)."""

    class SqueezeExcitation(nn.Module):
        def __init__(self):
            super().__init__()
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc1 = nn.Conv2d(channels, squeezed, 1)
            self.activation = nn.ReLU()
            self.fc2 = nn.Conv2d(squeezed, channels, 1)
            self.scale_activation = nn.Hardsigmoid()

        def forward(self, x):
            scale = self.fc2(self.activation(self.fc1(self.avgpool(x))))
            return self.scale_activation(scale) * x

    return SqueezeExcitation()


def inverted_residual(nn, channels, wide, out, kernel, stride, has_se, activation):
    """Expand, look around in each channel, weigh the channels, project (Howard et al. 2019)."""

    class InvertedResidual(nn.Module):
        def __init__(self):
            super().__init__()
            layers = [
                nn.Sequential(
                    nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide, eps=1e-3), activation()
                ),
                nn.Sequential(
                    nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
                    nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01),
                    activation(),
                ),
            ]
            if has_se:
                layers.append(squeeze_excitation(nn, wide, 4))
            layers.append(nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out, eps=1e-3)))
            self.block = nn.Sequential(*layers)
            self.use_res_connect = stride == 1 and channels == out

        def forward(self, x):
            result = self.block(x)
            if self.use_res_connect:
                result += x
            return result

    return InvertedResidual()


def mobilenet_v3(nn, net):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8, eps=1e-3),
        nn.Hardswish(inplace=True),
        inverted_residual(nn, 8, 16, 8, 3, 1, True, nn.ReLU),
        inverted_residual(nn, 8, 24, 12, 5, 2, True, nn.Hardswish),
        inverted_residual(nn, 12, 24, 12, 5, 1, False, nn.Hardswish),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(start_dim=1),
        nn.Linear(12, 16),
        nn.Hardswish(inplace=True),
        nn.Dropout(p=0.2, inplace=True),
        nn.Linear(16, 5),
    )


def layer_norm_2d(nn, channels):
    """LayerNorm over the channels of images (N, C, H, W)."""

    class LayerNorm2d(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    return LayerNorm2d(channels, eps=1e-6)


def convnext_block(nn, net, dim):
    """Depthwise 7 x 7, LayerNorm over channels, a widening perceptron with GELU, scaled (Liu et al. 2022)."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer_scale = nn.Parameter(net.full((dim, 1, 1), 0.1))
            self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
            self.norm = nn.LayerNorm(dim, eps=1e-6)
            self.pwconv1 = nn.Linear(dim, 4 * dim)
            self.act = nn.GELU()
            self.pwconv2 = nn.Linear(4 * dim, dim)

        def forward(self, x):
            y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
            y = self.pwconv2(self.act(self.pwconv1(y)))
            return x + self.layer_scale * y.permute(0, 3, 1, 2)

    return Block()


def convnext(nn, net):
    class ConvNeXt(nn.Module):
        def __init__(self):
            super().__init__()
            stem = nn.Sequential(nn.Conv2d(3, 8, kernel_size=4, stride=4), layer_norm_2d(nn, 8))
            down = nn.Sequential(layer_norm_2d(nn, 8), nn.Conv2d(8, 12, kernel_size=2, stride=2))
            self.downsample_layers = nn.ModuleList([stem, down])
            first = nn.Sequential(*[convnext_block(nn, net, 8) for _ in range(2)])
            self.stages = nn.ModuleList([first, nn.Sequential(convnext_block(nn, net, 12))])
            self.norm = nn.LayerNorm(12, eps=1e-6)
            self.head = nn.Linear(12, 5)

        def forward(self, x):
            for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
                x = stage(downsample(x))
            return self.head(self.norm(x.mean([-2, -1])))

    return ConvNeXt()
