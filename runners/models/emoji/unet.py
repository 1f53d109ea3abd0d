"""The trained network: it predicts how a noisy picture has to change to become what a text describes."""

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
    """A U-Net with three resolutions."""

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
        """Return the direction of change. Times run from 0, all noise, to 1, all picture."""
        condition = functional.silu(self.time(time_features(times)) + self.text(texts))
        fine = self.down1(self.enter(pictures), condition)
        middle = self.down2(self.halve1(fine), condition)
        coarse = self.attend3(self.down3(self.halve2(middle), condition))
        deep = self.attend_middle(self.middle(coarse, condition))
        deep = self.up3(torch.cat([deep, coarse], 1), condition)
        deep = self.up2(torch.cat([double(deep), middle], 1), condition)
        deep = self.up1(torch.cat([double(deep), fine], 1), condition)
        return self.leave(functional.silu(self.norm(deep)))


class Residual(nn.Module):
    """A residual block whose features are scaled and shifted by text and time."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shift = nn.Linear(INNER, 2 * out_channels)
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, data: Tensor, condition: Tensor) -> Tensor:
        """Add the convolved data to the data itself."""
        result = self.conv1(functional.silu(self.norm1(data)))
        factor, offset = self.shift(condition)[:, :, None, None].chunk(2, 1)
        return self.skip(data) + self.conv2(functional.silu(self.norm2(result) * (1 + factor) + offset))


class Attention(nn.Module):
    """Self-attention over all positions of a picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, data: Tensor) -> Tensor:
        """Add the attended data to the data itself."""
        count, channels, height, width = data.shape
        split = self.qkv(self.norm(data)).reshape(count, 3, HEADS, channels // HEADS, height * width)
        result = functional.scaled_dot_product_attention(*split.transpose(-1, -2).unbind(1))
        return data + self.out(result.transpose(-1, -2).reshape(data.shape))


def time_features(times: Tensor) -> Tensor:
    """Return sines and cosines of the times, at several frequencies."""
    half = WAVES // 2
    pitches = torch.exp(-math.log(1000) * torch.arange(half, device=times.device) / half)
    angles = 1000 * times[:, None] * pitches
    return torch.cat([angles.sin(), angles.cos()], 1)


def double(data: Tensor) -> Tensor:
    """Double the height and width."""
    return functional.interpolate(data, scale_factor=2.0)
