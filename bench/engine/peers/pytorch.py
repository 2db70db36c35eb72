"""Times one training step (Adam) and one inference of the benchmark's networks in PyTorch; prints JSON.

Usage: pytorch.py THREADS SECONDS_PER_CASE
"""

import json
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

threads, budget = int(sys.argv[1]), float(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(0)


def mlp(sizes):
    layers = []
    for i in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        if i < len(sizes) - 2:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.head = nn.Linear(128, 10)

    def forward(self, x):
        h = F.max_pool2d(F.relu(self.conv1(x)), 2)
        h = F.max_pool2d(F.relu(self.conv2(h)), 2)
        return self.head(h.flatten(1))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, mask):
        b, n, w = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, self.size)
        q, k, v = (qkv[:, :, i].transpose(1, 2) for i in range(3))
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(self.size) + mask
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, w)
        x = x + self.out(mixed)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, width=128, heads=4, layers=2, context=64, vocabulary=64):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(context, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        self.register_buffer("mask", torch.full((context, context), -1e9).triu(1))

    def forward(self, tokens):
        h = self.embed(tokens) + self.position
        for block in self.blocks:
            h = block(h, self.mask)
        return self.head(self.norm(h))


class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(32, 128, batch_first=True)
        self.head = nn.Linear(128, 10)

    def forward(self, x):
        _, last = self.cell(x)
        return self.head(last[0])


class Ensemble(nn.Module):
    """Sixteen networks as batched matrix products, the fastest form PyTorch has for them."""

    def __init__(self, members=16, sizes=(64, 64, 10)):
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(members, a, b) * math.sqrt(2 / a)) for a, b in zip(sizes, sizes[1:])
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, b)) for b in sizes[1:])

    def forward(self, x):
        h = x.expand(self.weights[0].shape[0], *x.shape)
        for i, (w, b) in enumerate(zip(self.weights, self.biases)):
            h = torch.baddbmm(b, h, w)
            if i < len(self.weights) - 1:
                h = F.relu(h)
        return h


def classification(model, x, y):
    return F.cross_entropy(model(x), y)


def language(model, x, y):
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def ensemble_loss(model, x, y):
    logits = model(x)
    members = logits.shape[0]
    return F.cross_entropy(logits.flatten(0, 1), y.repeat(members)) * members


def penalty(model, x, y):
    x = x.detach().requires_grad_(True)
    loss = F.cross_entropy(model(x), y)
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    return loss + 10 * x.shape[0] * gradient.pow(2).sum()


STEPS = 16


def features(batch, shape, classes):
    return torch.randn(STEPS, batch, *shape), torch.randint(0, classes, (STEPS, batch))


def tokens():
    x = torch.randint(0, 64, (STEPS, 8, 64))
    return x, x.roll(-1, 2)


networks = {
    "mlp-784-256-256-10": (lambda: mlp([784, 256, 256, 10]), classification, lambda: features(128, [784], 10)),
    "mlp-64-128-128-10": (lambda: mlp([64, 128, 128, 10]), classification, lambda: features(256, [64], 10)),
    "mlp-2-32-32-2": (lambda: mlp([2, 32, 32, 2]), classification, lambda: features(32, [2], 2)),
    "digits-cnn": (Cnn, classification, lambda: features(128, [1, 8, 8], 10)),
    "transformer": (Transformer, language, tokens),
    "gru": (Gru, classification, lambda: features(32, [32, 32], 10)),
    "ensemble-16": (Ensemble, ensemble_loss, lambda: features(64, [64], 10)),
    "gradient-penalty": (lambda: mlp([64, 128, 128, 10]), penalty, lambda: features(128, [64], 10)),
}


def median_ms(f):
    for i in range(5):
        f(i)
    times = []
    start = time.perf_counter()
    while time.perf_counter() - start < budget or len(times) < 10:
        before = time.perf_counter()
        f(len(times))
        times.append(time.perf_counter() - before)
    times.sort()
    return times[len(times) // 2] * 1e3


results = {}
for name, (make, loss, data) in networks.items():
    model = make()
    xs, ys = data()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, foreach=True)

    def train(i):
        optimizer.zero_grad(set_to_none=True)
        loss(model, xs[i % STEPS], ys[i % STEPS]).backward()
        optimizer.step()

    def infer(i):
        with torch.inference_mode():
            model(xs[i % STEPS])

    results[name] = {"train": median_ms(train), "inference": median_ms(infer)}

print(json.dumps({"version": torch.__version__, "threads": threads, "results": results}))
