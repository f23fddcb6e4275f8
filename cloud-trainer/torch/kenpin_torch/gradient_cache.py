"""The whole batch's exact contrast in the memory of a micro-batch (Gao et al. 2021, arXiv 2101.06983).

1. Every micro-batch is embedded without keeping anything.  2. The loss of all embeddings gives each embedding its gradient.
3. Every micro-batch is embedded again and those gradients go on through it. Patch dropout is part of the batch, so both
times a micro-batch is the same. DDP exchanges gradients in the last micro-batch only.
"""
import contextlib

import torch

ROWS = ("pixel_values", "kept", "patch_targets", "patch_weights")


def cached_backward(wrapped, stage, batch, micro):
    """Leaves the gradients of this rank's share in the parameters; out: loss and parts, as one whole step gives them."""
    rows = len(batch["pixel_values"])
    count = max(1, -(-rows // micro))
    start, end = stage.ranks.range(len(batch["ids"]))
    captions = batch["ids"][start:end]
    parts = [(_range(i, rows, count), _range(i, len(captions), count)) for i in range(count)]

    with torch.no_grad():  # 1
        images = torch.cat([stage.look(batch["pixel_values"][a:b], False, _rows(batch, "kept", a, b))[0] for (a, b), _ in parts])
        texts = torch.cat([stage.padded_texts(captions[a:b]) for _, (a, b) in parts])

    images.requires_grad_()  # 2
    texts.requires_grad_()
    shared = [value for value in stage.shared() if value.requires_grad]
    gather = stage.ranks.gather
    contrast = stage.contrast(gather(images, batch["size"]), gather(texts, len(batch["ids"])), batch)
    image_gradients, text_gradients, *rest = torch.autograd.grad(contrast, (images, texts, *shared), allow_unused=True)

    patch = None
    for i, ((a, b), (c, d)) in enumerate(parts):  # 3
        last = i == count - 1
        part = {key: batch[key][a:b] for key in ROWS if key in batch}
        part.update(
            ids=captions[c:d], image_gradients=image_gradients[a:b], text_gradients=text_gradients[c:d],
            # a bias that the contrast does not read has a gradient of 0 here: DDP waits for one from every parameter
            shared=[(value, torch.zeros_like(value) if gradient is None else gradient) for value, gradient in zip(shared, rest)] if last else [],
        )
        if "patch_weight_sum" in batch:
            part["patch_weight_sum"] = batch["patch_weight_sum"]
        quiet = contextlib.nullcontext() if last or not hasattr(wrapped, "no_sync") else wrapped.no_sync()
        with quiet:
            loss, seen = wrapped(part)
            loss.backward()
        if "patch" in seen:
            patch = seen["patch"].detach() + (0 if patch is None else patch)
    contrast = contrast.detach()
    if patch is None:
        return contrast, {}
    return contrast + stage.job.recipe["patchLoss"] * patch, {"contrast": contrast, "patch": patch}


def distilled_backward(wrapped, stage, batch, micro):
    """The same where texts are a teacher's and fixed: only pictures are looked at twice."""
    pixels, size = batch["pixel_values"], batch["size"]
    count = max(1, -(-len(pixels) // micro))
    ranges = [_range(i, len(pixels), count) for i in range(count)]

    with torch.no_grad():  # 1
        images = torch.cat([stage.look(pixels[a:b], False)[0] for a, b in ranges])
        told = torch.cat([stage.ask(pixels[a:b], False)[0] for a, b in ranges])

    images.requires_grad_()  # 2
    between = stage.between(stage.ranks.gather(images, size), stage.ranks.gather(told, size), batch)
    gradients = torch.autograd.grad(stage.weighted(between), images)[0] if between else torch.zeros_like(images)

    parts = {name: value.detach() for name, value in between.items()}
    for i, (a, b) in enumerate(ranges):  # 3
        quiet = contextlib.nullcontext() if i == count - 1 or not hasattr(wrapped, "no_sync") else wrapped.no_sync()
        with quiet:
            loss, own = wrapped({"pixel_values": pixels[a:b], "image_gradients": gradients[a:b], "size": size})
            loss.backward()
        for name, value in own.items():
            parts[name] = value.detach() + parts.get(name, 0)
    return stage.weighted(parts), parts


def _range(index, count, parts):
    return index * count // parts, (index + 1) * count // parts


def _rows(batch, key, start, end):
    return batch[key][start:end] if key in batch else None
