"""Times PyTorch on the step, or the evaluation, that TestBenchTable times.

    vit.py step MODEL WEIGHTS THREADS INPUTS
    vit.py evaluate MODEL WEIGHTS THREADS BATCH PICTURE...

MODEL is a ViT's name in timm, WEIGHTS a safetensors file with timm's names, and
INPUTS one with image (B,3,H,W), mask (B,1,H,W) and label (B). It prints PyTorch's
version and then, for every line of its input, a line: what a job's name stands
for is in the table at the end of each part."""

import json
import os
import resource
import struct
import sys
import time
import types

import timm
import torch
import torch.nn.functional as F

LEARNING_RATE, WEIGHT_DECAY = 3e-6, 1e-4
SEGMENTATION, CLASSIFICATION, BACKGROUND, FOREGROUND = 0.8, 0.2, 2.0, 0.3


def read(path):
    """The tensors of a safetensors file."""
    kinds = {"F32": torch.float32, "I64": torch.int64}
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
        data = bytearray(f.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        tensors[name] = torch.frombuffer(data, dtype=kinds[t["dtype"]], count=(end - begin) // kinds[t["dtype"]].itemsize, offset=begin).reshape(t["shape"])
    return tensors


def open_model(name, weights):
    model = timm.create_model(name).eval()
    model.load_state_dict(read(weights))
    return model


def seconds(job):
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def serve(jobs):
    print(f"PyTorch {torch.__version__}, timm {timm.__version__}, {torch.get_num_threads()} threads", flush=True)
    for line in sys.stdin:
        print(json.dumps(jobs[line.strip()]()), flush=True)


# The step: RobustViT's objective, on one forward pass that relevance and logits
# share, and with the rollout of one row. Attention is timm's own arithmetic; that
# is all it needs to keep its maps.


def attend(self, x, **_):
    b, n, d = x.shape
    q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
    self.map = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)  # (B,H,N,N)
    return self.proj((self.map @ v).transpose(1, 2).reshape(b, n, d))


class Step:
    def __init__(self, model, image, mask, label):
        self.model, self.inputs = model, (image, mask, label)
        for block in model.blocks:
            block.attn.forward = types.MethodType(attend, block.attn)
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
        self.traced = None

    def forward(self, parameters, image):
        """Logits (B,C) and the attention map of every block."""
        logits = torch.func.functional_call(self.model, dict(zip(self.names, parameters)), (image,))
        return logits, [block.attn.map for block in self.model.blocks]

    def normalised(self, row, image):
        """Relevance of the tokens (B,N) as a map (B,1,H,W) in [0,1]."""
        side = image.shape[2] // self.model.patch_embed.patch_size[0]
        up = F.interpolate(row[:, 1:].reshape(-1, 1, side, side), size=image.shape[2:], mode="bilinear")
        flat = up.flatten(1)
        low, high = flat.min(dim=1, keepdim=True)[0], flat.max(dim=1, keepdim=True)[0]
        return ((flat - low) / (high - low)).reshape(up.shape)

    def relevance(self, logits, maps, image, label, second=False):
        chosen = logits.gather(1, label[:, None]).sum()
        gradients = torch.autograd.grad(chosen, maps, retain_graph=True, create_graph=second)
        row = torch.zeros_like(maps[0][:, 0, :1])  # (B,1,N)
        row[:, :, 0] = 1
        for a, g in zip(reversed(maps), reversed(gradients)):
            row = row + row @ (g * a).clamp(min=0).mean(dim=1)
        return self.normalised(row[:, 0], image)

    def losses(self, parameters, image, mask, label, second=False):
        logits, maps = self.forward(parameters, image)
        m = self.relevance(logits, maps, image, label, second)
        outside = torch.where(mask == 1, 0.0, torch.where(mask == 0, 1.0, mask))
        background, foreground = (m * outside).square().mean(), (m * mask - mask).square().mean()
        confidence = F.cross_entropy(logits, logits.argmax(dim=1).detach())
        total = SEGMENTATION * (BACKGROUND * background + FOREGROUND * foreground) + CLASSIFICATION * confidence
        return total, background, foreground, confidence

    def gradients(self, parameters, image, mask, label, second=False):
        return torch.autograd.grad(self.losses(parameters, image, mask, label, second)[0], parameters)

    def update(self, gradients):
        for p, g in zip(self.parameters, gradients):
            p.grad = g
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def compiled(self):
        """Both backward passes in one graph: torch.compile can't follow them itself."""
        if self.traced is None:
            from torch.fx.experimental.proxy_tensor import make_fx

            step = lambda parameters, *inputs: self.gradients(parameters, *inputs)
            self.traced = torch.compile(make_fx(step, tracing_mode="fake")(self.parameters, *self.inputs))
        with torch.no_grad():
            self.update(self.traced(self.parameters, *self.inputs))

    def eager(self, second=False):
        self.update(self.gradients(self.parameters, *self.inputs, second))

    def explain(self):
        image, _, label = self.inputs
        logits, maps = self.forward(self.parameters, image)
        self.relevance(logits, maps, image, label)

    def published(self):
        """As released: a backward pass for every block, and products of whole matrices."""
        image, _, label = self.inputs
        logits, maps = self.forward(self.parameters, image)
        chosen = logits.gather(1, label[:, None]).sum()
        rollout = torch.eye(maps[0].shape[-1]).expand(len(logits), -1, -1)
        for a in maps:
            (g,) = torch.autograd.grad(chosen, [a], retain_graph=True)
            rollout = rollout + torch.bmm((g * a).clamp(min=0).mean(dim=1), rollout)
        self.normalised(rollout[:, 0], image)

    def plain(self):
        with torch.no_grad():
            self.model(self.inputs[0])

    def check(self):
        """Losses, and the norm of their gradient."""
        total, background, foreground, classification = self.losses(self.parameters, *self.inputs)
        gradients = torch.autograd.grad(total, self.parameters)
        norm = torch.stack([g.double().square().sum() for g in gradients]).sum().sqrt()
        return {"total": total.item(), "background": background.item(), "foreground": foreground.item(),
                "classification": classification.item(), "gradient": norm.item()}

    def jobs(self):
        return {
            "check": self.check,
            "forward": lambda: seconds(self.plain),
            "eager": lambda: seconds(self.eager),
            "compiled": lambda: seconds(self.compiled),
            "second": lambda: seconds(lambda: self.eager(second=True)),
            "explain": lambda: seconds(self.explain),
            "published": lambda: seconds(self.published),
            "peak": lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


# The evaluation, with a DataLoader of two workers.


class Pictures(torch.utils.data.Dataset):
    def __init__(self, paths, transform):
        self.paths, self.transform = paths, transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        from PIL import Image

        return self.transform(Image.open(self.paths[i]).convert("RGB"))


def evaluation(model, batch, paths):
    transform = timm.data.create_transform(224, interpolation="bicubic", crop_pct=0.9, mean=(0.5,) * 3, std=(0.5,) * 3)
    loader = torch.utils.data.DataLoader(Pictures(paths, transform), batch_size=batch, num_workers=2, persistent_workers=True)

    def run():
        with torch.no_grad():
            for images in loader:
                model(images).argmax(dim=1)

    run()  # the workers start
    return {"evaluate": lambda: seconds(run)}


kind, name, weights, threads = sys.argv[1:5]
torch.set_num_threads(int(threads))
model = open_model(name, weights)
if kind == "step":
    inputs = read(sys.argv[5])
    serve(Step(model, inputs["image"], inputs["mask"], inputs["label"]).jobs())
else:
    serve(evaluation(model, int(sys.argv[5]), sys.argv[6:]))
