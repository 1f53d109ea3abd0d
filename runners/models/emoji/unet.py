"""The network that was taught to draw: which way a noisy picture has to go to become the one that a text describes."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (48, 96, 160)  # channels at 32, 16 and 8 pixels
TEXT = 384  # numbers that a text is
INNER = 256  # numbers that text and time become
WAVES = 64  # numbers that a time is
GROUPS = 8
HEADS = 4


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.time = nn.Sequential(nn.Linear(WAVES, INNER), nn.SiLU(), nn.Linear(INNER, INNER))
        self.text = nn.Linear(TEXT, INNER)
        self.enter = nn.Conv2d(3, fine, 3, padding=1)
        self.down1 = Residual(fine, fine)
        self.halve1 = nn.Conv2d(fine, fine, 3, stride=2, padding=1)
        self.down2 = Residual(fine, middle)
        self.halve2 = nn.Conv2d(middle, middle, 3, stride=2, padding=1)
        self.down3 = Residual(middle, coarse)
        self.attend3 = Attention(coarse)
        self.middle = Residual(coarse, coarse)
        self.attend_middle = Attention(coarse)
        self.up3 = Residual(2 * coarse, coarse)
        self.up2 = Residual(coarse + middle, middle)
        self.up1 = Residual(middle + fine, fine)
        self.norm = nn.GroupNorm(GROUPS, fine)
        self.leave = nn.Conv2d(fine, 3, 3, padding=1)

    def forward(self, pictures: Tensor, times: Tensor, texts: Tensor) -> Tensor:
        """Times run from 0, all noise, to 1, all picture."""
        told = functional.silu(self.time(waves(times)) + self.text(texts))
        fine = self.down1(self.enter(pictures), told)
        middle = self.down2(self.halve1(fine), told)
        coarse = self.attend3(self.down3(self.halve2(middle), told))
        deep = self.attend_middle(self.middle(coarse, told))
        deep = self.up3(torch.cat([deep, coarse], 1), told)
        deep = self.up2(torch.cat([doubled(deep), middle], 1), told)
        deep = self.up1(torch.cat([doubled(deep), fine], 1), told)
        return self.leave(functional.silu(self.norm(deep)))


class Residual(nn.Module):
    def __init__(self, taken: int, given: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, taken)
        self.conv1 = nn.Conv2d(taken, given, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, given)
        self.conv2 = nn.Conv2d(given, given, 3, padding=1)
        self.shift = nn.Linear(INNER, 2 * given)
        self.skip = nn.Conv2d(taken, given, 1) if taken != given else nn.Identity()

    def forward(self, data: Tensor, told: Tensor) -> Tensor:
        made = self.conv1(functional.silu(self.norm1(data)))
        factor, offset = self.shift(told)[:, :, None, None].chunk(2, 1)
        return self.skip(data) + self.conv2(functional.silu(self.norm2(made) * (1 + factor) + offset))


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, data: Tensor) -> Tensor:
        count, channels, height, width = data.shape
        split = self.qkv(self.norm(data)).reshape(count, 3, HEADS, channels // HEADS, height * width)
        made = functional.scaled_dot_product_attention(*split.transpose(-1, -2).unbind(1))
        return data + self.out(made.transpose(-1, -2).reshape(data.shape))


def waves(times: Tensor) -> Tensor:
    half = WAVES // 2
    pitches = torch.exp(-math.log(1000) * torch.arange(half, device=times.device) / half)
    angles = 1000 * times[:, None] * pitches
    return torch.cat([angles.sin(), angles.cos()], 1)


def doubled(data: Tensor) -> Tensor:
    return functional.interpolate(data, scale_factor=2.0)
