"""The contrastive loss of a large batch without its B × T table: rows are taken a tile at a time, forwards and backwards.

Forward: log-sum-exp of every row and, running (Milakov and Gimelshein 2018), of every column. Backward: each tile's softmaxes
again from those; d loss / d logits = softmax over rows / 2B + softmax over columns / 2T − the positives' shares of both.
"""
import torch

ROWS = 2048


class TiledContrast(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images, texts, scale, positive, blocked):
        columns = len(texts)
        top = images.new_full((columns,), float("-inf"))
        total = images.new_zeros(columns)
        row_lse, told = [], images.new_zeros(())
        row_count, column_count = _counts(positive, columns, images)
        for a, b in _tiles(len(images)):
            logits = _logits(images[a:b], texts, scale, blocked, a, b)
            row_lse.append(logits.logsumexp(1))
            higher = torch.maximum(top, logits.amax(0))
            total = total * (top - higher).exp() + (logits - higher).exp().sum(0)
            top = higher
            told = told + (logits * _shares(positive, row_count, column_count, a, b, logits)).sum()
        row_lse, column_lse = torch.cat(row_lse), top + total.log()
        has_row, has_column = (row_count > 0).to(images.dtype), (column_count > 0).to(images.dtype)
        ctx.save_for_backward(images, texts, scale, positive, blocked, row_lse, column_lse)
        return (row_lse * has_row).mean() / 2 + (column_lse * has_column).mean() / 2 - told

    @staticmethod
    def backward(ctx, gradient):
        images, texts, scale, positive, blocked, row_lse, column_lse = ctx.saved_tensors
        row_count, column_count = _counts(positive, len(texts), images)
        row_weight = (row_count > 0).to(images.dtype)[:, None] / (2 * len(images))
        column_weight = (column_count > 0).to(images.dtype)[None] / (2 * len(texts))
        d_images, d_texts, d_scale = torch.empty_like(images), torch.zeros_like(texts), torch.zeros_like(scale)
        for a, b in _tiles(len(images)):
            logits = _logits(images[a:b], texts, scale, blocked, a, b)
            d = (logits - row_lse[a:b, None]).exp() * row_weight[a:b] + (logits - column_lse[None]).exp() * column_weight
            d -= _shares(positive, row_count, column_count, a, b, logits)
            d_images[a:b] = scale * d @ texts
            d_texts += scale * d.T @ images[a:b]
            d_scale += ((d_images[a:b] * images[a:b]).sum() / scale).to(scale.dtype)
        return gradient * d_images, gradient * d_texts, gradient * d_scale, None, None


def tiled_contrastive(images, texts, scale, positive=None, blocked=None):
    """As losses.contrastive; without relations picture i belongs to caption i alone."""
    return TiledContrast.apply(images, texts, scale, positive, blocked)


def _tiles(rows):
    return [(start, min(start + ROWS, rows)) for start in range(0, rows, ROWS)]


def _logits(images, texts, scale, blocked, a, b):
    logits = scale * images @ texts.T
    return logits if blocked is None else logits - 1e4 * blocked[a:b]


def _counts(positive, columns, images):
    """Positives of each row and of each column."""
    if positive is None:
        return images.new_ones(len(images)), images.new_ones(columns)
    return positive.sum(1).to(images.dtype), positive.sum(0).to(images.dtype)


def _shares(positive, row_count, column_count, a, b, logits):
    rows, columns = len(row_count), len(column_count)
    weight = 0.5 / (rows * row_count[a:b, None].clamp(min=1)) + 0.5 / (columns * column_count[None].clamp(min=1))
    if positive is None:
        weight = weight.expand_as(logits)
        return torch.zeros_like(logits).diagonal_scatter(weight.diagonal(a), a)
    return positive[a:b] * weight
