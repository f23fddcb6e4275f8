"""The elementwise parts of a transformer block, each one pass over memory, and what the backward pass keeps of them.

A block in bf16 spends most of its time and memory outside its products: norms, rotary positions, activations, each with
results of its own that autograd would keep. Here every such part is one function that torch.compile makes one kernel of,
and only what a product or attention needs anyway is kept; the rest is computed again from it in the backward pass:

    add_norm     x + delta and its normalised form; keeps the normalised form, which the next product keeps as well
    rotary       q, k turned by their position and v, for attention; keeps nothing of its own
    act_linear   a product of an activation (norm, SwiGLU + norm, GELU); keeps the activation's input only

A norm's scale and shift are folded into the product behind it (`fold`): x̂·w + b times W is x̂ times W·w, plus W·b.
Products and what goes into them have the tower's dtype; sums, norms and the residual stream are float32.
"""
import torch
import torch.nn.functional as F

_compiled = {}
_use_compile = False


def compile_parts(on):
    """Whether the parts run as compiled kernels (slow the first time for each shape) or operation by operation."""
    global _use_compile
    _use_compile = on
    if on:  # towers, widths, micro-batches and patch dropout each bring a shape of their own
        limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"
        setattr(torch._dynamo.config, limit, 256)


def part(function):
    def call(*args):
        if not _use_compile:
            return function(*args)
        if function not in _compiled:
            _compiled[function] = torch.compile(function, dynamic=False)
        return _compiled[function](*args)

    return call


def fold(weight, bias, norm):
    """Product and bias for normalised inputs: W·w and W·b + bias."""
    shift = weight @ norm.bias
    return weight * norm.weight, shift if bias is None else shift + bias


# --- add_norm


def _statistics(x, eps):
    mean = x.mean(-1, keepdim=True)
    rstd = (x - mean).square().mean(-1, keepdim=True).add(eps).rsqrt()
    return mean, rstd


@part
def _norm(x, eps, dtype):
    x = x.float()
    mean, rstd = _statistics(x, eps)
    return ((x - mean) * rstd).to(dtype), rstd


@part
def _add_norm(x, delta, eps, dtype):
    x = x + delta.float()
    mean, rstd = _statistics(x, eps)
    return x, ((x - mean) * rstd).to(dtype), rstd


@part
def _add_norm_backward(dx, dn, n, rstd, dtype):
    dn, n = dn.float(), n.float()
    through = rstd * (dn - dn.mean(-1, keepdim=True) - n * (dn * n).mean(-1, keepdim=True))
    dx = through if dx is None else dx + through
    return dx, dx.to(dtype)


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, delta, eps, dtype):
        ctx.set_materialize_grads(False)
        if delta is None:
            n, rstd = _norm(x, eps, dtype)
        else:
            x, n, rstd = _add_norm(x, delta, eps, dtype)
        ctx.save_for_backward(n, rstd)
        ctx.delta = None if delta is None else delta.dtype
        return x if delta is not None else x.view_as(x), n

    @staticmethod
    def backward(ctx, dx, dn):
        n, rstd = ctx.saved_tensors
        if dn is None:
            return dx, None if ctx.delta is None or dx is None else dx.to(ctx.delta), None, None
        dx, ddelta = _add_norm_backward(dx, dn, n, rstd, ctx.delta or dn.dtype)
        return dx, None if ctx.delta is None else ddelta, None, None



def add_norm(x, delta, eps, dtype):
    """[…, W] float32 stream and what is added to it (or None) → the sum, and its normalised form without scale and shift."""
    return _AddNorm.apply(x, delta, eps, dtype)


# --- rotary


def _turn(t, cos, sin):
    a, b = t.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2).to(t.dtype)


@part
def _rotary(qkv, cos, sin):
    q, k, v = qkv.unbind(2)
    return torch.stack((_turn(q, cos, sin), _turn(k, cos, sin), v))


@part
def _rotary_backward(dq, dk, dv, cos, sin):
    return torch.stack((_turn(dq, cos, -sin), _turn(dk, cos, -sin), dv), 2)


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, cos, sin):
        ctx.save_for_backward(cos, sin)
        return _rotary(qkv, cos, sin).unbind(0)

    @staticmethod
    def backward(ctx, dq, dk, dv):
        return _rotary_backward(dq, dk, dv, *ctx.saved_tensors), None, None


def rotary(qkv, tables):
    """[B, N, 3, H, d] and cos, sin [N or B·N, 1, d/2] in float32 → q, k, v [B, N, H, d]."""
    return _Rotary.apply(qkv, *tables)


# --- act_linear: a(z) for each kind, and its backward pass that gives a(z) once more for the product's weight


@part
def _sub_norm(z, eps):
    z32 = z.float()
    mean, rstd = _statistics(z32, eps)
    return ((z32 - mean) * rstd).to(z.dtype), mean, rstd


@part
def _sub_norm_backward(z, da, mean, rstd):
    n, da = (z.float() - mean) * rstd, da.float()
    dz = rstd * (da - da.mean(-1, keepdim=True) - n * (da * n).mean(-1, keepdim=True))
    return dz.to(z.dtype), n.to(z.dtype)


@part
def _swiglu_norm(z, eps, width):
    gate, value = z.float().chunk(2, -1)
    h = F.silu(gate) * value
    # columns past `width` are padding: gate and value are 0 there, and so is h
    pad = h.shape[-1] - width
    mean = h.sum(-1, keepdim=True) / width
    rstd = (((h - mean).square().sum(-1, keepdim=True) - pad * mean.square()) / width + eps).rsqrt()
    return ((h - mean) * rstd).to(z.dtype), mean, rstd


@part
def _swiglu_norm_backward(z, da, mean, rstd, width):
    gate, value = z.float().chunk(2, -1)
    share = torch.sigmoid(gate)
    silu = gate * share
    n, da = (silu * value - mean) * rstd, da.float()
    first = da.sum(-1, keepdim=True) / width  # da is 0 in padding: the product's columns are
    second = (da * n).sum(-1, keepdim=True) / width
    dh = rstd * (da - first - n * second)
    dz = torch.cat((dh * value * (share + silu * (1 - share)), dh * silu), -1)
    return dz.to(z.dtype), n.to(z.dtype)


@part
def _gelu(z):
    return F.gelu(z.float()).to(z.dtype)


@part
def _gelu_backward(z, da):
    x = z.float()
    normal = torch.exp(-0.5 * x * x) * 0.3989422804014327
    share = 0.5 * (1 + torch.erf(x * 0.7071067811865476))
    return (da.float() * (share + x * normal)).to(z.dtype), (x * share).to(z.dtype)


class _ActLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, weight, bias, kind, eps, width):
        ctx.kind, ctx.width = kind, width
        statistics = ()
        if kind == "gelu":
            a = _gelu(z)
        elif kind == "norm":
            a, *statistics = _sub_norm(z, eps)
        else:
            a, *statistics = _swiglu_norm(z, eps, width)
        ctx.save_for_backward(z, weight, *statistics)
        return F.linear(a, weight, bias)

    @staticmethod
    def backward(ctx, dout):
        z, weight, *statistics = ctx.saved_tensors
        da = dout @ weight
        if ctx.kind == "gelu":
            dz, a = _gelu_backward(z, da)
        elif ctx.kind == "norm":
            dz, a = _sub_norm_backward(z, da, *statistics)
        else:
            dz, a = _swiglu_norm_backward(z, da, *statistics, ctx.width)
        rows = dout.flatten(0, -2)
        return dz, rows.T @ a.flatten(0, -2), rows.sum(0), None, None, None


def act_linear(z, weight, bias, kind, eps=0.0, width=0):
    """a(z)·Wᵀ + bias, a one of "gelu", "norm" and "swiglu-norm"; the last over its first `width` columns of each half."""
    return _ActLinear.apply(z, weight, bias, kind, eps, width)
