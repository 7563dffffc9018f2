"""Reference numbers for a PyTorch ViT: logits, attention maps, their gradients and the
relevance row, computed by autograd in float64, with the deviation of a float32 run.

    from reference import case
    case(model, "case.safetensors", prefix=1, image=(3, 16, 16))

model(image) must give logits (B,C) (or an object with .logits). Attention maps are caught where
softmax runs (or scaled_dot_product_attention), in order of execution, as (B,H,N,N); softmaxes that
aren't square are ignored. pool: "token" starts the rollout from e_0, "avg" from the mean over the
patch rows. blocks: block number of every map, where several attentions run in parallel.
"""
import copy, json
import torch
import torch.nn.functional as F
from safetensors.torch import save_file


class Maps:
    """Catches every square softmax while active."""

    def __init__(self):
        self.list = []

    def keep(self, p):
        if p.dim() >= 3 and p.shape[-1] == p.shape[-2] and p.requires_grad and not any(p is q for q in self.list):
            p.retain_grad()
            self.list.append(p)
        return p

    def __enter__(self):
        self.old = (torch.softmax, F.softmax, torch.Tensor.softmax, F.scaled_dot_product_attention)
        soft, fsoft, tsoft, _ = self.old

        def sdpa(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **kw):
            s = q @ k.transpose(-2, -1) * (scale if scale is not None else q.shape[-1] ** -0.5)
            if attn_mask is not None:
                s = s.masked_fill(~attn_mask, float("-inf")) if attn_mask.dtype == torch.bool else s + attn_mask
            return self.keep(soft(s, -1)) @ v

        torch.softmax = lambda x, *a, **k: self.keep(soft(x, *a, **{i: j for i, j in k.items() if i != "dtype"}))
        F.softmax = lambda x, *a, **k: self.keep(fsoft(x, *a, **{i: j for i, j in k.items() if i not in ("dtype", "_stacklevel")}))
        torch.Tensor.softmax = lambda x, *a, **k: self.keep(tsoft(x, *a, **{i: j for i, j in k.items() if i != "dtype"}))
        F.scaled_dot_product_attention = sdpa
        torch.nn.functional.scaled_dot_product_attention = sdpa
        return self

    def __exit__(self, *a):
        torch.softmax, F.softmax, torch.Tensor.softmax, F.scaled_dot_product_attention = self.old


def run(model, image, label, prefix, pool, blocks, square, dtype):
    model = copy.deepcopy(model).to(dtype).eval()
    image = image.to(dtype).requires_grad_(True)
    with Maps() as maps:
        out = model(image)
        out = getattr(out, "logits", out)
        if isinstance(out, (tuple, list)):
            out = out[0]
        out.gather(1, label[:, None]).sum().backward()
    n_tokens = max(p.shape[-1] for p in maps.list)
    found = [p for p in maps.list if p.shape[-1] == n_tokens and p.grad is not None]
    b = image.shape[0]
    A = [p.detach().reshape(b, -1, n_tokens, n_tokens) for p in found]
    G = [p.grad.reshape(b, -1, n_tokens, n_tokens) for p in found]
    blocks = blocks or list(range(len(A)))
    r = torch.zeros(b, n_tokens, dtype=dtype)
    if pool == "avg":
        r[:, prefix:] = 1 / (n_tokens - prefix)
    else:
        r[:, 0] = 1
    for blk in sorted(set(blocks), reverse=True):
        bar = sum((A[i] * G[i]).clamp(min=0).mean(1) for i in range(len(A)) if blocks[i] == blk)
        r = r + torch.einsum("bn,bnm->bm", r, bar)
    d = {"logits": out.detach(), "relevance": r[:, prefix:]}
    for i in range(len(A)):
        d[f"attn.{i}"], d[f"attn_grad.{i}"] = A[i], G[i]
    return d


def inputs(image=(3, 16, 16), classes=10, batch=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, *image, generator=g)
    label = torch.randint(0, classes, (batch,), generator=g)
    mask = (torch.rand(batch, 1, *image[1:], generator=g) > 0.5).float()
    return x, mask, label


def randomize(model, seed=0, std=0.08):
    """Gives every parameter a value that matters: norms near 1, biases and scales away from 0."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            if p.dim() <= 1:
                near = 1.0 if ("weight" in name or "gamma" in name or "lambda" in name) else 0.0
                p.copy_(near + 0.2 * noise)
            else:
                fan = p[0].numel() if p.numel() else 1
                p.copy_(noise * max(std, 0.7 / fan**0.5))
    return model.eval()


def case(model, path, prefix=1, pool="token", image=(3, 16, 16), batch=2, classes=None, blocks=None, seed=0, extra=None):
    """Writes image, mask, label and the float64 results (as float32) to one safetensors file."""
    x, mask, _ = inputs(image, 2, batch, seed)
    with torch.no_grad():
        out = model(x)
        out = getattr(out, "logits", out)
        out = out[0] if isinstance(out, (tuple, list)) else out
    label = torch.randint(0, out.shape[1], (batch,), generator=torch.Generator().manual_seed(seed + 1))
    hi = run(model, x, label, prefix, pool, blocks, None, torch.float64)
    lo = run(model, x, label, prefix, pool, blocks, None, torch.float32)
    dev = {}
    for k, v in hi.items():
        group = k.split(".")[0]
        d = ((lo[k].double() - v).abs().max() / v.abs().max().clamp(min=1e-30)).item()
        dev[group] = max(dev.get(group, 0.0), d, 1.2e-7)
    data = {k: v.float().contiguous() for k, v in hi.items()}
    data.update(image=x, mask=mask, label=label)
    meta = {"float32_deviation": json.dumps(dev), "prefix_tokens": str(prefix), "pool": pool}
    meta.update(extra or {})
    save_file(data, path, metadata=meta)
    return hi, dev
