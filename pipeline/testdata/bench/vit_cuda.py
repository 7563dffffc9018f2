"""Times PyTorch on the step that TestBenchCUDA times.

    vit_cuda.py MODEL BATCH DEVICE [STEPS]

MODEL is a ViT's name in timm, with random weights. It prints PyTorch's version and
GPU, and then a JSON object for each way of computing and each precision: seconds of
a step, the median, and the most bytes that PyTorch held."""

import json
import sys
import time
import types

import timm
import torch
import torch.nn.functional as F

LEARNING_RATE, WEIGHT_DECAY = 3e-6, 1e-4
SEGMENTATION, CLASSIFICATION, BACKGROUND, FOREGROUND = 0.8, 0.2, 2.0, 0.3
WARM_UP = 3


def attend(self, x, **_):
    """timm's attention, which keeps its map."""
    b, n, d = x.shape
    q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
    self.map = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)  # (B,H,N,N)
    return self.proj((self.map.to(v.dtype) @ v).transpose(1, 2).reshape(b, n, d))


class Step:
    """RobustViT's objective, first order, on one forward pass that relevance and
    logits share, with the rollout of one row."""

    def __init__(self, name, batch, device, precision):
        torch.manual_seed(0)
        self.device, self.half = device, {"bf16": torch.bfloat16}.get(precision)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        self.model = timm.create_model(name).eval().to(device)
        for block in self.model.blocks:
            block.attn.forward = types.MethodType(attend, block.attn)
        size = self.model.patch_embed.img_size
        self.image = torch.randn(batch, 3, *size, device=device)
        self.mask = (torch.rand(batch, 1, *size, device=device) > 0.5).float()
        self.label = torch.zeros(batch, dtype=torch.int64, device=device)
        self.names = [n for n, _ in self.model.named_parameters()]
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)

    def losses(self, parameters):
        with torch.autocast(self.device, dtype=self.half or torch.bfloat16, enabled=self.half is not None):
            logits = torch.func.functional_call(self.model, dict(zip(self.names, parameters)), (self.image,)).float()
        maps = [block.attn.map for block in self.model.blocks]
        chosen = logits.gather(1, self.label[:, None]).sum()
        gradients = torch.autograd.grad(chosen, maps, retain_graph=True)
        row = torch.zeros_like(maps[0][:, 0, :1], dtype=torch.float32)  # (B,1,N)
        row[:, :, 0] = 1
        for a, g in zip(reversed(maps), reversed(gradients)):
            row = row + row @ (g * a).clamp(min=0).float().mean(dim=1)
        side = self.image.shape[2] // self.model.patch_embed.patch_size[0]
        up = F.interpolate(row[:, 0, 1:].reshape(-1, 1, side, side), size=self.image.shape[2:], mode="bilinear")
        flat = up.flatten(1)
        low, high = flat.min(dim=1, keepdim=True)[0], flat.max(dim=1, keepdim=True)[0]
        m, mask = ((flat - low) / (high - low)).reshape(up.shape), self.mask
        background, foreground = (m * (1 - mask)).square().mean(), (m * mask - mask).square().mean()
        confidence = F.cross_entropy(logits, logits.argmax(dim=1).detach())
        return SEGMENTATION * (BACKGROUND * background + FOREGROUND * foreground) + CLASSIFICATION * confidence

    def gradients(self, parameters):
        return torch.autograd.grad(self.losses(parameters), parameters)

    def update(self, gradients):
        for p, g in zip(self.parameters, gradients):
            p.grad = g
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def eager(self):
        self.update(self.gradients(self.parameters))

    def compile(self):
        """Both backward passes in one graph: torch.compile can't follow them itself."""
        from torch.fx.experimental.proxy_tensor import make_fx

        traced = torch.compile(make_fx(lambda p: self.gradients(p), tracing_mode="fake", _allow_non_fake_inputs=True)(self.parameters))

        def step():
            with torch.no_grad():
                self.update(traced(self.parameters))

        return step


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def measure(step, device, steps):
    times = []
    for _ in range(WARM_UP + steps):
        wait(device)
        start = time.perf_counter()
        step()
        wait(device)
        times.append(time.perf_counter() - start)
    return sorted(times[WARM_UP:])[steps // 2]


def main():
    name, batch, device = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    steps = int(sys.argv[4]) if len(sys.argv) > 4 else 11
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch finds no GPU")
    gpu = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    print(f"PyTorch {torch.__version__}, timm {timm.__version__}, {gpu}", flush=True)
    for precision in ["fp32", "tf32", "bf16"]:
        for how in ["eager", "compiled"]:
            result = {"precision": precision, "how": how}
            try:
                if device == "cuda":
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                step = Step(name, batch, device, precision)
                result["seconds"] = measure(step.eager if how == "eager" else step.compile(), device, steps)
                result["bytes"] = torch.cuda.max_memory_reserved() if device == "cuda" else 0
            except Exception as e:  # no memory, no compiler: the other rows still count
                result["error"] = f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"
            step = None
            print(json.dumps(result), flush=True)


main()
