"""Triton kernels for the parts that a compiler splits in two or walks badly: each reads its input once and writes once.

Where a gradient's column sums are wanted (a bias), every program takes many rows and keeps sums of its own, [programs, W];
they are added up afterwards. Two kernels write over what they have read: `swiglu_norm_backward` leaves dz where z was and
the product's input where its gradient was, for they are the largest tensors of a block.
TRITON_INTERPRET=1 runs all of them on the processor, as the tests do.
"""
import torch
import triton
import triton.language as tl


def _programs(tensor, each):
    if tensor.device.type != "cuda":
        return 3
    return each * torch.cuda.get_device_properties(tensor.device).multi_processor_count


# --- the stream's sum and norm, backwards


@triton.jit
def _add_norm_backward(dx, dn, n, rstd, dx_out, ddelta, sums, rows, width, HAS_DX: tl.constexpr, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    inside = cols < width
    total = tl.zeros((BLOCK,), tl.float32)
    one = tl.full((BLOCK,), 1, tl.int64)
    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        at = one * row * width + cols
        d = tl.load(dn + at, mask=inside, other=0.0).to(tl.float32)
        x = tl.load(n + at, mask=inside, other=0.0).to(tl.float32)
        r = tl.load(rstd + row)
        g = r * (d - tl.sum(d, 0) / width - x * (tl.sum(d * x, 0) / width))
        if HAS_DX:
            g += tl.load(dx + at, mask=inside, other=0.0)
        tl.store(dx_out + at, g, mask=inside)
        tl.store(ddelta + at, g.to(ddelta.dtype.element_ty), mask=inside)
        total += g
    tl.store(sums + tl.program_id(0) * width + cols, total, mask=inside)


def add_norm_backward(dx, dn, n, rstd, dtype):
    width = n.shape[-1]
    rows, programs = n.numel() // width, _programs(n, 16)
    dn = dn.contiguous()
    dx = None if dx is None else dx.contiguous()
    out = torch.empty(n.shape, dtype=torch.float32, device=n.device)
    ddelta = torch.empty(n.shape, dtype=dtype, device=n.device)
    sums = torch.empty(programs, width, dtype=torch.float32, device=n.device)
    _add_norm_backward[(programs,)](dx if dx is not None else out, dn, n, rstd, out, ddelta, sums, rows, width, HAS_DX=dx is not None, BLOCK=triton.next_power_of_2(width), num_warps=4)
    return out, ddelta, sums.sum(0)


# --- rotary positions


@triton.jit
def _turned(t, c, s, HALF: tl.constexpr):
    a, b = tl.split(tl.reshape(t, (HALF, 2)))
    return tl.reshape(tl.join(a * c - b * s, b * c + a * s), (2 * HALF,))


@triton.jit
def _rotary_forward(qkv, bias, cos, sin, out, rows, width, table_rows, HEAD_HALF: tl.constexpr, HALF: tl.constexpr):
    row = tl.full((1,), 1, tl.int64) * tl.program_id(0)
    cols, pairs = tl.arange(0, 2 * HALF), tl.arange(0, HALF)
    inside = cols < width
    place = (row % table_rows) * HEAD_HALF + pairs % HEAD_HALF
    c, s = tl.load(cos + place), tl.load(sin + place)
    for part in tl.static_range(3):
        t = tl.load(qkv + (row * 3 + part) * width + cols, mask=inside, other=0.0).to(tl.float32)
        t += tl.load(bias + part * width + cols, mask=inside, other=0.0)
        if part < 2:
            t = _turned(t, c, s, HALF)
        tl.store(out + (row + part * rows) * width + cols, t.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _rotary_backward(dq, dk, dv, cos, sin, out, sums, rows, width, table_rows, HEAD_HALF: tl.constexpr, HALF: tl.constexpr):
    cols, pairs = tl.arange(0, 2 * HALF), tl.arange(0, HALF)
    inside = cols < width
    one = tl.full((1,), 1, tl.int64)
    q_total = tl.zeros((2 * HALF,), tl.float32)
    k_total = tl.zeros((2 * HALF,), tl.float32)
    v_total = tl.zeros((2 * HALF,), tl.float32)
    for index in range(tl.program_id(0), rows, tl.num_programs(0)):
        row = one * index
        place = (row % table_rows) * HEAD_HALF + pairs % HEAD_HALF
        c, s = tl.load(cos + place), -tl.load(sin + place)
        at = row * width + cols
        q = _turned(tl.load(dq + at, mask=inside, other=0.0).to(tl.float32), c, s, HALF)
        k = _turned(tl.load(dk + at, mask=inside, other=0.0).to(tl.float32), c, s, HALF)
        v = tl.load(dv + at, mask=inside, other=0.0).to(tl.float32)
        to = row * 3 * width + cols
        tl.store(out + to, q.to(out.dtype.element_ty), mask=inside)
        tl.store(out + to + width, k.to(out.dtype.element_ty), mask=inside)
        tl.store(out + to + 2 * width, v.to(out.dtype.element_ty), mask=inside)
        q_total += q
        k_total += k
        v_total += v
    own = sums + tl.program_id(0) * 3 * width + cols
    tl.store(own, q_total, mask=inside)
    tl.store(own + width, k_total, mask=inside)
    tl.store(own + 2 * width, v_total, mask=inside)


def rotary_forward(qkv, bias, cos, sin):
    """[B, N, 3, H, d] → [3, B, N, H, d]; the tables have a row a token or a row a token of each picture."""
    batch, tokens, _, heads, d = qkv.shape
    out = torch.empty(3, batch, tokens, heads, d, dtype=qkv.dtype, device=qkv.device)
    rows, width = batch * tokens, heads * d
    half = triton.next_power_of_2(width) // 2
    _rotary_forward[(rows,)](qkv, bias, cos, sin, out, rows, width, cos.numel() // (d // 2), HEAD_HALF=d // 2, HALF=half, num_warps=4)
    return out


def rotary_backward(dq, dk, dv, cos, sin):
    """To [B, N, 3, H, d] and the bias's gradient [3·W]."""
    batch, tokens, heads, d = dq.shape
    rows, width, programs = batch * tokens, heads * d, _programs(dq, 12)
    out = torch.empty(batch, tokens, 3, heads, d, dtype=dq.dtype, device=dq.device)
    sums = torch.empty(programs, 3 * width, dtype=torch.float32, device=dq.device)
    parts = (one.contiguous() for one in (dq, dk, dv))
    half = triton.next_power_of_2(width) // 2
    _rotary_backward[(programs,)](*parts, cos, sin, out, sums, rows, width, cos.numel() // (d // 2), HEAD_HALF=d // 2, HALF=half, num_warps=4)
    return out, sums.sum(0)


# --- SwiGLU and the norm behind it; rows of z are gate and value, each `padded` wide, of which `width` count


@triton.jit
def _swiglu_norm(z, bias, out, mean_out, rstd_out, width, padded, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    inside, real = cols < padded, cols < width
    at = tl.full((BLOCK,), 1, tl.int64) * row * padded
    gate = tl.load(z + 2 * at + cols, mask=inside, other=0.0).to(tl.float32) + tl.load(bias + cols, mask=inside, other=0.0)
    value = tl.load(z + 2 * at + padded + cols, mask=inside, other=0.0).to(tl.float32) + tl.load(bias + padded + cols, mask=inside, other=0.0)
    h = gate * tl.sigmoid(gate) * value
    mean = tl.sum(h, 0) / width
    centred = tl.where(real, h - mean, 0.0)
    rstd = 1.0 / tl.sqrt(tl.sum(centred * centred, 0) / width + eps)
    tl.store(out + at + cols, (centred * rstd).to(out.dtype.element_ty), mask=inside)
    tl.store(mean_out + row, mean)
    tl.store(rstd_out + row, rstd)


@triton.jit
def _swiglu_norm_backward(z, bias, da, mean_in, rstd_in, sums, rows, width, padded, BLOCK: tl.constexpr):
    cols = tl.arange(0, BLOCK)
    inside, real = cols < padded, cols < width
    gate_bias = tl.load(bias + cols, mask=inside, other=0.0)
    value_bias = tl.load(bias + padded + cols, mask=inside, other=0.0)
    gate_total = tl.zeros((BLOCK,), tl.float32)
    value_total = tl.zeros((BLOCK,), tl.float32)
    one = tl.full((BLOCK,), 1, tl.int64)
    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        at = one * row * padded
        gate = tl.load(z + 2 * at + cols, mask=inside, other=0.0).to(tl.float32) + gate_bias
        value = tl.load(z + 2 * at + padded + cols, mask=inside, other=0.0).to(tl.float32) + value_bias
        d = tl.where(real, tl.load(da + at + cols, mask=inside, other=0.0).to(tl.float32), 0.0)
        mean = tl.load(mean_in + row)
        rstd = tl.load(rstd_in + row)
        share = tl.sigmoid(gate)
        silu = gate * share
        n = tl.where(real, (silu * value - mean) * rstd, 0.0)
        dh = rstd * (d - tl.sum(d, 0) / width - n * (tl.sum(d * n, 0) / width))
        d_gate = dh * value * (share + silu * (1.0 - share))
        d_value = dh * silu
        tl.store(da + at + cols, n.to(da.dtype.element_ty), mask=inside)
        tl.store(z + 2 * at + cols, d_gate.to(z.dtype.element_ty), mask=inside)
        tl.store(z + 2 * at + padded + cols, d_value.to(z.dtype.element_ty), mask=inside)
        gate_total += d_gate
        value_total += d_value
    own = sums + tl.program_id(0) * 2 * padded + cols
    tl.store(own, gate_total, mask=inside)
    tl.store(own + padded, value_total, mask=inside)


def swiglu_norm_forward(z, bias, eps, width):
    padded = z.shape[-1] // 2
    rows = z.numel() // (2 * padded)
    out = torch.empty(*z.shape[:-1], padded, dtype=z.dtype, device=z.device)
    mean, rstd = (torch.empty(rows, dtype=torch.float32, device=z.device) for _ in range(2))
    block = triton.next_power_of_2(padded)
    _swiglu_norm[(rows,)](z, bias, out, mean, rstd, width, padded, eps, BLOCK=block, num_warps=4 if block <= 1024 else 8)
    return out, mean, rstd


def swiglu_norm_backward(z, bias, da, mean, rstd, width):
    """dz in z's place and a(z) in da's; and the bias's gradient."""
    padded = z.shape[-1] // 2
    rows, programs = z.numel() // (2 * padded), _programs(z, 4)
    sums = torch.empty(programs, 2 * padded, dtype=torch.float32, device=z.device)
    block = triton.next_power_of_2(padded)
    _swiglu_norm_backward[(programs,)](z, bias, da, mean, rstd, sums, rows, width, padded, BLOCK=block, num_warps=4 if block <= 1024 else 8 if block <= 2048 else 16)
    return z, da, sums.sum(0)
