"""The elementwise parts of a transformer block, each one pass over memory, and what the backward pass keeps of them.

A block in bf16 spends most of its time and memory outside its products: norms, rotary positions, activations, each with
results of its own that autograd would keep. Here every such part is one function, and only what a product or attention needs
anyway is kept; the rest is computed again from it in the backward pass:

    add_norm     x + delta + bias and its normalised form; keeps the normalised form, which the next product keeps as well
    rotary       q, k turned by their position and v, with their bias; keeps nothing of its own
    act_linear   a product of an activation (norm, SwiGLU + norm, GELU); keeps the activation's input only

A norm's scale and shift are folded into the product behind it: x̂·w + b times W is x̂ times W·w (`folded_linear`, which makes
that product's weights again in the backward pass), plus W·b (`folded_bias`). A product's bias is added by the part behind it,
which has its gradient as a by-product.
Products and what goes into them have the tower's dtype; sums, norms and the residual stream are float32. Each part runs as
plain operations, or compiled; on a GPU the wider ones as the kernels in kernels.py.
"""
import os

import torch
import torch.nn.functional as F

_compiled = {}
_use_compile = False
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


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


def by_kernel(tensor):
    return _INTERPRETED or (_use_compile and tensor.is_cuda)


def folded_bias(weight, bias, norm):
    """W·b + bias: what a product's bias becomes where its input is normalised without scale and shift."""
    shift = weight @ norm.bias
    return shift if bias is None else shift + bias


def _statistics(x, eps):
    mean = x.mean(-1, keepdim=True)
    rstd = (x - mean).square().mean(-1, keepdim=True).add(eps).rsqrt()
    return mean, rstd


def _column_sums(rows):
    return rows.flatten(0, -2).sum(0, dtype=torch.float32)


# --- folded_linear


def _folded(weights, scale, pad, dtype):
    return torch.cat([F.pad(weight * scale, (0, 0, 0, pad)) for weight in weights]).to(dtype)


class _FoldedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, n, scale, bias, pad, *weights):
        ctx.pad, ctx.has_bias = pad, bias is not None
        ctx.save_for_backward(n, scale, *weights)
        return F.linear(n, _folded(weights, scale, pad, n.dtype), None if bias is None else bias.to(n.dtype))

    @staticmethod
    def backward(ctx, dout):
        n, scale, *weights = ctx.saved_tensors
        rows = dout.flatten(0, -2)
        dn = dout @ _folded(weights, scale, ctx.pad, n.dtype)
        parts = (rows.T @ n.flatten(0, -2)).float().split([weight.shape[0] + ctx.pad for weight in weights])
        parts = [part[: weight.shape[0]] for part, weight in zip(parts, weights)]
        dscale = sum((part * weight).sum(0) for part, weight in zip(parts, weights))
        return dn, dscale, _column_sums(rows) if ctx.has_bias else None, None, *(part * scale for part in parts)


def folded_linear(n, norm, weights, bias=None, pad=0):
    """n·(W·w)ᵀ for all weights as one product, each with `pad` rows of zeros behind it."""
    return _FoldedLinear.apply(n, norm.weight, bias, pad, *weights)


# --- add_norm


@part
def _norm(x, eps, dtype):
    mean, rstd = _statistics(x, eps)
    return ((x - mean) * rstd).to(dtype), rstd


@part
def _add_norm(x, delta, bias, eps, dtype):
    x = x + (delta.float() + bias)
    mean, rstd = _statistics(x, eps)
    return x, ((x - mean) * rstd).to(dtype), rstd


@part
def _add_norm_backward(dx, dn, n, rstd, dtype):
    dn, n = dn.float(), n.float()
    through = rstd * (dn - dn.mean(-1, keepdim=True) - n * (dn * n).mean(-1, keepdim=True))
    dx = through if dx is None else dx + through
    return dx, dx.to(dtype)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, eps, dtype):
        ctx.set_materialize_grads(False)
        n, rstd = _norm(x, eps, dtype)
        ctx.save_for_backward(n, rstd)
        return x.view_as(x), n

    @staticmethod
    def backward(ctx, dx, dn):
        n, rstd = ctx.saved_tensors
        return (dx if dn is None else _add_norm_backward(dx, dn, n, rstd, dn.dtype)[0]), None, None


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, delta, bias, eps, dtype):
        ctx.set_materialize_grads(False)
        x, n, rstd = _add_norm(x, delta, bias, eps, dtype)
        ctx.save_for_backward(n, rstd)
        ctx.dtype = delta.dtype
        return x, n

    @staticmethod
    def backward(ctx, dx, dn):
        n, rstd = ctx.saved_tensors
        if dn is None:
            return dx, dx.to(ctx.dtype), _column_sums(dx), None, None
        if by_kernel(n):
            from .kernels import add_norm_backward

            return *add_norm_backward(dx, dn, n, rstd, ctx.dtype), None, None
        dx, ddelta = _add_norm_backward(dx, dn, n, rstd, ctx.dtype)
        return dx, ddelta, _column_sums(dx), None, None


def add_norm(x, delta, bias, eps, dtype):
    """[…, W] float32 stream and what is added to it (or None) → the sum, and its normalised form without scale and shift."""
    if delta is None:
        return _Norm.apply(x, eps, dtype)
    return _AddNorm.apply(x, delta, bias, eps, dtype)


# --- rotary


def _turn(t, cos, sin):
    a, b = t.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2).to(t.dtype)


@part
def _rotary(qkv, bias, cos, sin):
    q, k, v = (qkv.float() + bias.view(qkv.shape[2:])).to(qkv.dtype).unbind(2)
    return torch.stack((_turn(q, cos, sin), _turn(k, cos, sin), v))


@part
def _rotary_backward(dq, dk, dv, cos, sin):
    out = torch.stack((_turn(dq, cos, -sin), _turn(dk, cos, -sin), dv), 2)
    return out, out.float().sum((0, 1)).flatten()


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, bias, cos, sin):
        ctx.save_for_backward(cos, sin)
        if by_kernel(qkv):
            from .kernels import rotary_forward

            return rotary_forward(qkv, bias, cos, sin).unbind(0)
        return _rotary(qkv, bias, cos, sin).unbind(0)

    @staticmethod
    def backward(ctx, dq, dk, dv):
        if by_kernel(dq):
            from .kernels import rotary_backward

            return *rotary_backward(dq, dk, dv, *ctx.saved_tensors), None, None
        return *_rotary_backward(dq, dk, dv, *ctx.saved_tensors), None, None


def rotary(qkv, bias, tables):
    """[B, N, 3, H, d], bias [3·H·d] and cos, sin [N or B, N, 1, d/2] in float32 → q, k, v [B, N, H, d]."""
    return _Rotary.apply(qkv, bias, *tables)


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
def _swiglu_norm(z, bias, eps, width):
    gate, value = (z.float() + bias).chunk(2, -1)
    h = F.silu(gate) * value
    # columns past `width` are padding: gate and value are 0 there, and so is h
    pad = h.shape[-1] - width
    mean = h.sum(-1, keepdim=True) / width
    rstd = (((h - mean).square().sum(-1, keepdim=True) - pad * mean.square()) / width + eps).rsqrt()
    return ((h - mean) * rstd).to(z.dtype), mean, rstd


@part
def _swiglu_norm_backward(z, bias, da, mean, rstd, width):
    gate, value = (z.float() + bias).chunk(2, -1)
    share = torch.sigmoid(gate)
    silu = gate * share
    n, da = (silu * value - mean) * rstd, da.float()
    first = da.sum(-1, keepdim=True) / width  # da is 0 in padding: the product's columns are
    second = (da * n).sum(-1, keepdim=True) / width
    dh = rstd * (da - first - n * second)
    dz = torch.cat((dh * value * (share + silu * (1 - share)), dh * silu), -1)
    return dz.to(z.dtype), n.to(z.dtype), _column_sums(dz)


@part
def _gelu(z, bias):
    return F.gelu(z.float() + bias).to(z.dtype)


@part
def _gelu_backward(z, bias, da):
    x = z.float() + bias
    normal = torch.exp(-0.5 * x * x) * 0.3989422804014327
    share = 0.5 * (1 + torch.erf(x * 0.7071067811865476))
    dz = da.float() * (share + x * normal)
    return dz.to(z.dtype), (x * share).to(z.dtype), _column_sums(dz)


class _ActLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, bias, weight, scale, kind, eps):
        ctx.kind, ctx.width = kind, weight.shape[1]
        width = ctx.width
        statistics = ()
        if kind == "gelu":
            a = _gelu(z, bias)
        elif kind == "norm":
            a, *statistics = _sub_norm(z, eps)
        elif by_kernel(z):
            from .kernels import swiglu_norm_forward

            a, *statistics = swiglu_norm_forward(z, bias, eps, width)
        else:
            a, *statistics = _swiglu_norm(z, bias, eps, width)
        ctx.save_for_backward(z, bias, weight, scale, *statistics)
        return F.linear(a, _scaled(weight, scale, a, a.shape[-1]))

    @staticmethod
    def backward(ctx, dout):
        z, bias, weight, scale, *statistics = ctx.saved_tensors
        da = dout @ _scaled(weight, scale, dout, z.shape[-1] // 2 if ctx.kind == "swiglu-norm" else weight.shape[1])
        dbias = None
        if ctx.kind == "gelu":
            dz, a, dbias = _gelu_backward(z, bias, da)
        elif ctx.kind == "norm":
            dz, a = _sub_norm_backward(z, da, *statistics)
        elif by_kernel(z):
            from .kernels import swiglu_norm_backward

            dz, a, dbias = swiglu_norm_backward(z, bias, da, *statistics, ctx.width)
        else:
            dz, a, dbias = _swiglu_norm_backward(z, bias, da, *statistics, ctx.width)
        dweight = (dout.flatten(0, -2).T @ a.flatten(0, -2))[:, : weight.shape[1]].float()
        if scale is None:
            return dz, dbias, dweight, None, None, None
        return dz, dbias, dweight * scale, (dweight * weight).sum(0), None, None


def _scaled(weight, scale, like, columns):
    """The product's weights in the dtype and, with zeros, the width of what they are multiplied with."""
    weight = weight if scale is None else weight * scale
    return F.pad(weight, (0, columns - weight.shape[1])).to(like.dtype)


def act_linear(z, bias, weight, kind, norm=None):
    """a(z + bias)·(W·w)ᵀ, a one of "gelu", "norm" (no bias) and "swiglu-norm"; w the scale of the norm that a ends with.

    The halves of z may be wider than W: what is past its width is padding.
    """
    scale, eps = (None, 0.0) if norm is None else (norm.weight, norm.eps)
    return _ActLinear.apply(z, bias, weight, scale, kind, eps)
