"""open_clip's text tower and timm's EVA-02 image tower, run by the fused parts; the modules stay the owners of all weights.

In: the modules as open_clip and timm build them. Out: the same numbers in float32 to rounding, with half the memory and
time in bf16 (fused.py says why). Towers of another make (GELU, post-norm: EVA01, E/14) run as timm wrote them.
Attention is `sdpa` (whatever flash kernel the machine has), `cudnn`, or `plain`, which is there to compare with.
"""
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from .fused import act_linear, add_norm, folded_bias, folded_linear, rotary

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


def image_tokens(trunk, pixels, *, dtype, patches=True, kept=None, masked=None, mask_token=None, attention="sdpa", seen=None):
    """[B, 3, S, S] → stream [B, N, W] and what is still to be added to it: class token, then patches.

    `kept` [B, K] names the patches that stay (patch dropout); `masked` [B, P] those replaced by `mask_token`. `seen`, a dict whose
    keys are blocks, gets the patches' tokens after each of these.
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
    for i, block in enumerate(trunk.blocks):
        # Behind the last attention nothing looks at another token: without patches the class token goes on alone.
        only = _class_token if not patches and i == len(trunk.blocks) - 1 else None
        x, *rest = image_block(block, x, *rest, tables, dtype, attention, only)
        if seen is not None and i in seen:
            seen[i] = (x + (rest[0].float() + rest[1]))[:, 1:]
    return x, *rest


def _class_token(rows):
    return rows[:, :1].contiguous()


def patches_of(pixels, side):
    """[B, 3, S, S] → [B, P, 3·side·side]."""
    return pixels.unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def image_block(block, x, delta, bias, tables, dtype, attention, only=None):
    """The stream and what is still to be added to it (rows and a bias), before and after one block; `only` chooses rows."""
    attn, mlp = block.attn, block.mlp
    x, n = add_norm(x, delta, bias, block.norm1.eps, dtype)
    parts = attn.q_proj, attn.k_proj, attn.v_proj
    qkv = folded_linear(n, block.norm1, [one.weight for one in parts]).unflatten(-1, (3, attn.num_heads, -1))
    bias = torch.cat([folded_bias(one.weight, one.bias, block.norm1) for one in parts])
    seen = attend(*rotary(qkv, bias, tables), attention)
    if only:
        x, seen = only(x), only(seen)
    delta = act_linear(seen, None, attn.proj.weight, "norm", attn.norm)
    x, n = add_norm(x, delta, folded_bias(attn.proj.weight, attn.proj.bias, attn.norm), block.norm2.eps, dtype)
    pad = -mlp.norm.weight.shape[0] % ALIGN
    parts = mlp.fc1_g, mlp.fc1_x
    z = folded_linear(n, block.norm2, [one.weight for one in parts], pad=pad)
    bias = torch.cat([F.pad(folded_bias(one.weight, one.bias, block.norm2), (0, pad)) for one in parts])
    delta = act_linear(z, bias, mlp.fc2.weight, "swiglu-norm", mlp.norm)
    return x, delta, folded_bias(mlp.fc2.weight, mlp.fc2.bias, mlp.norm)


def embed_image(trunk, pixels, *, patches, **options):
    """`image_embeds` [B, D] and, where `patches` are wanted, `patch_embeds` [B, K, D]; float32, all of length 1."""
    dtype = options["dtype"]
    if is_fast(trunk):
        _, n = add_norm(*image_tokens(trunk, pixels, patches=patches, **options), trunk.norm.eps, dtype)
        out = folded_linear(n, trunk.norm, [trunk.head.weight], folded_bias(trunk.head.weight, trunk.head.bias, trunk.norm))
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


def embed_tokens(trunk, pixels, layers, **options):
    """`image_embeds`, `patch_embeds` and `patch_tokens` [B, K, L·W] of the given blocks: what the exported graph gives, all of length 1."""
    seen = dict.fromkeys(layers)
    images, patches = embed_image(trunk, pixels, patches=True, seen=seen, **options)
    return images, patches, F.normalize(torch.cat([F.normalize(seen[layer], dim=-1) for layer in layers], -1), dim=-1)


# --- text


def embed_text(text, ids, *, dtype, attention="sdpa"):
    """[T, L] token ids → `text_embeds` [T, D], float32, of length 1."""
    # The row of the highest id, the end of the text, is all that is read, and no row looks at later ones:
    ends, rows = ids.argmax(-1), torch.arange(len(ids), device=ids.device)
    x = text.token_embedding(ids) + text.positional_embedding[: ids.shape[1]]
    delta = bias = None
    blocks = text.transformer.resblocks
    for i, block in enumerate(blocks):
        only = (lambda t: t[rows, ends]) if i == len(blocks) - 1 else None
        x, delta, bias = text_block(block, x, delta, bias, dtype, attention, only)
    _, n = add_norm(x, delta, bias, text.ln_final.eps, dtype)
    weight = text.text_projection.T
    return F.normalize(folded_linear(n, text.ln_final, [weight], folded_bias(weight, None, text.ln_final)).float(), dim=-1)


def text_block(block, x, delta, bias, dtype, attention, only=None):
    attn, mlp = block.attn, block.mlp
    x, n = add_norm(x, delta, bias, block.ln_1.eps, dtype)
    bias = folded_bias(attn.in_proj_weight, attn.in_proj_bias, block.ln_1)
    q, k, v = folded_linear(n, block.ln_1, [attn.in_proj_weight], bias).unflatten(-1, (3, attn.num_heads, -1)).unbind(2)
    seen = attend(q, k, v, attention, causal=True)
    if only:
        x, seen = only(x), only(seen)
    delta = F.linear(seen, attn.out_proj.weight.to(dtype))
    x, n = add_norm(x, delta, attn.out_proj.bias, block.ln_2.eps, dtype)
    z = folded_linear(n, block.ln_2, [mlp.c_fc.weight])
    return x, act_linear(z, folded_bias(mlp.c_fc.weight, mlp.c_fc.bias, block.ln_2), mlp.c_proj.weight, "gelu"), mlp.c_proj.bias
