"""open_clip's text tower and timm's EVA-02 image tower, run by the fused parts; the modules stay the owners of all weights.

In: the modules as open_clip and timm build them. Out: the same numbers in float32 to rounding, with half the memory and
time in bf16 (fused.py says why). Towers of another make (GELU, post-norm: EVA01, E/14) run as timm wrote them.
Attention is `sdpa` (whatever flash kernel the machine has), `cudnn`, or `plain`, which is there to compare with.
"""
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from .fused import act_linear, add_norm, fold, rotary

#: Products want widths that are multiples of this many elements; 2730 is none.
ALIGN = 8


def is_fast(trunk):
    block = trunk.blocks[0]
    return trunk.rope is not None and hasattr(block.mlp, "fc1_g") and block.attn.qkv is None and hasattr(block, "gamma_1") and block.gamma_1 is None


def attend(q, k, v, attention, causal=False):
    """[B, N, H, d] each → [B, N, H·d]."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    if attention == "plain":
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if causal:
            n = scores.shape[-1]
            scores = scores.masked_fill(torch.ones(n, n, dtype=torch.bool, device=scores.device).triu(1), float("-inf"))
        out = scores.softmax(-1).to(v.dtype) @ v
    elif attention == "cudnn":
        with sdpa_kernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], set_priority=True):
            out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    else:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return out.transpose(1, 2).flatten(2)


# --- image


def rotary_tables(trunk, kept=None):
    """cos, sin [N, 1, d/2] or [B, N, 1, d/2] for the class token (not turned) and the patches, all or those kept."""
    sin, cos = (table[..., ::2].float() for table in trunk.rope.get_embed().chunk(2, -1))
    cos, sin = (F.pad(table, (0, 0, 1, 0), value=value) for table, value in ((cos, 1.0), (sin, 0.0)))
    if kept is not None:
        rows = with_class(kept)
        cos, sin = cos[rows], sin[rows]
    return cos.unsqueeze(-2).contiguous(), sin.unsqueeze(-2).contiguous()


def with_class(kept):
    """[B, K] patch numbers → [B, 1 + K] token numbers."""
    return F.pad(kept + 1, (1, 0))


def image_tokens(trunk, pixels, *, dtype, kept=None, masked=None, mask_token=None, attention="sdpa"):
    """[B, 3, S, S] → stream [B, N, W] and what is still to be added to it: class token, then patches.

    `kept` [B, K] names the patches that stay (patch dropout); `masked` [B, P] those replaced by `mask_token`.
    """
    patch = trunk.patch_embed.proj
    # A convolution whose steps are its own width is a product, which is much faster.
    x = F.linear(patches_of(pixels.to(dtype), patch.kernel_size[0]), patch.weight.flatten(1).to(dtype), patch.bias.to(dtype)).float()
    if masked is not None:
        share = masked.unsqueeze(-1).float()
        x = x * (1 - share) + mask_token * share
    x = torch.cat((trunk.cls_token.expand(x.shape[0], -1, -1), x), 1) + trunk.pos_embed
    if kept is not None:
        x = x.gather(1, with_class(kept).unsqueeze(-1).expand(-1, -1, x.shape[-1]))
    tables = rotary_tables(trunk, kept)
    rest = (None, None)
    for block in trunk.blocks:
        x, *rest = image_block(block, x, *rest, tables, dtype, attention)
    return x, *rest


def patches_of(pixels, side):
    """[B, 3, S, S] → [B, P, 3·side·side]."""
    return pixels.unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def image_block(block, x, delta, bias, tables, dtype, attention):
    """The stream and what is still to be added to it (rows and a bias), before and after one block."""
    attn, mlp = block.attn, block.mlp
    x, n = add_norm(x, delta, bias, block.norm1.eps, dtype)
    weight, bias = fold(torch.cat((attn.q_proj.weight, attn.k_proj.weight, attn.v_proj.weight)), None, block.norm1)
    bias = bias + torch.cat((attn.q_proj.bias, torch.zeros_like(attn.q_proj.bias), attn.v_proj.bias))
    qkv = F.linear(n, weight.to(dtype)).unflatten(-1, (3, attn.num_heads, -1))
    seen = attend(*rotary(qkv, bias, tables), attention)
    weight, bias = fold(attn.proj.weight, attn.proj.bias, attn.norm)
    delta = act_linear(seen, None, weight.to(dtype), "norm", attn.norm.eps)
    x, n = add_norm(x, delta, bias, block.norm2.eps, dtype)
    width = mlp.norm.weight.shape[0]
    pad = -width % ALIGN
    gate, gate_bias = fold(mlp.fc1_g.weight, mlp.fc1_g.bias, block.norm2)
    value, value_bias = fold(mlp.fc1_x.weight, mlp.fc1_x.bias, block.norm2)
    weight = torch.cat((F.pad(gate, (0, 0, 0, pad)), F.pad(value, (0, 0, 0, pad))))
    bias = torch.cat((F.pad(gate_bias, (0, pad)), F.pad(value_bias, (0, pad))))
    z = F.linear(n, weight.to(dtype))
    weight, last = fold(mlp.fc2.weight, mlp.fc2.bias, mlp.norm)
    return x, act_linear(z, bias, F.pad(weight, (0, pad)).to(dtype), "swiglu-norm", mlp.norm.eps, width), last


def embed_image(trunk, pixels, *, patches, **options):
    """`image_embeds` [B, D] and, where `patches` are wanted, `patch_embeds` [B, K, D]; float32, all of length 1."""
    dtype = options["dtype"]
    if is_fast(trunk):
        x, delta, bias = image_tokens(trunk, pixels, **options)
        if not patches:
            x, delta = x[:, :1], delta[:, :1]
        _, n = add_norm(x, delta, bias, trunk.norm.eps, dtype)
        weight, bias = fold(trunk.head.weight, trunk.head.bias, trunk.norm)
        out = F.linear(n, weight.to(dtype), bias.to(dtype))
    else:
        out = trunk.head(timm_tokens(trunk, pixels, **options))
    out = F.normalize(out.float(), dim=-1)
    return out[:, 0], out[:, 1:] if patches else None


def timm_tokens(trunk, pixels, *, dtype, kept=None, masked=None, mask_token=None, attention="sdpa"):
    """Tokens after the last norm, by timm's own blocks."""
    with torch.autocast(pixels.device.type, dtype, enabled=dtype != torch.float32):
        x = trunk.patch_embed(pixels)
        if masked is not None:
            share = masked.unsqueeze(-1).to(x.dtype)
            x = x * (1 - share) + mask_token * share
        x, rope = trunk._pos_embed(x)
        if kept is not None:
            x = x.gather(1, with_class(kept).unsqueeze(-1).expand(-1, -1, x.shape[-1]))
            rope = None if rope is None else rope[kept].unsqueeze(1)
        for block in trunk.blocks:
            x = block(x, rope=rope)
        return trunk.norm(x)


def image_features(trunk, pixels, **options):
    """Tokens after the last norm, class token left out: [B, P, W], as masked image modelling wants them."""
    if not is_fast(trunk):
        return timm_tokens(trunk, pixels, **options)[:, 1:]
    x, delta, bias = image_tokens(trunk, pixels, **options)
    _, n = add_norm(x, delta, bias, trunk.norm.eps, options["dtype"])
    return n[:, 1:].float() * trunk.norm.weight + trunk.norm.bias


# --- text


def embed_text(text, ids, *, dtype, attention="sdpa"):
    """[T, L] token ids → `text_embeds` [T, D], float32, of length 1."""
    # The row of the highest id, the end of the text, is all that is read, and no row looks at later ones:
    ends = ids.argmax(-1)
    x = text.token_embedding(ids) + text.positional_embedding[: ids.shape[1]]
    delta = bias = None
    for block in text.transformer.resblocks:
        x, delta, bias = text_block(block, x, delta, bias, dtype, attention)
    rows = torch.arange(len(ids), device=ids.device)
    _, n = add_norm(x[rows, ends], delta[rows, ends], bias, text.ln_final.eps, dtype)
    weight, bias = fold(text.text_projection.T, None, text.ln_final)
    return F.normalize(F.linear(n, weight.to(dtype), bias.to(dtype)).float(), dim=-1)


def text_block(block, x, delta, bias, dtype, attention):
    attn, mlp = block.attn, block.mlp
    x, n = add_norm(x, delta, bias, block.ln_1.eps, dtype)
    weight, bias = fold(attn.in_proj_weight, attn.in_proj_bias, block.ln_1)
    q, k, v = F.linear(n, weight.to(dtype), bias.to(dtype)).unflatten(-1, (3, attn.num_heads, -1)).unbind(2)
    seen = attend(q, k, v, attention, causal=True)
    delta = F.linear(seen, attn.out_proj.weight.to(dtype))
    x, n = add_norm(x, delta, attn.out_proj.bias, block.ln_2.eps, dtype)
    weight, bias = fold(mlp.c_fc.weight, mlp.c_fc.bias, block.ln_2)
    z = F.linear(n, weight.to(dtype))
    return x, act_linear(z, bias, mlp.c_proj.weight.to(dtype), "gelu"), mlp.c_proj.bias
