"""What each stage of a recipe asks of the model: which weights learn, and the loss of a batch.

In: a batch of this rank's rows (data.py), whole-batch tables beside them. Out: the whole batch's loss, alike on every rank
(ranks.py), and its parts for the log. The losses are those of src/train/engines/tfjs/{contrastive,masked-modelling,tune,
distill}.ts; `per_picture` is what one look at a rank's pictures gives, small enough to be gathered.
"""
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss

from . import losses
from .model import load
from .tiled_loss import tiled_contrastive
from .reference_loss import BIAS_START, SCALE_START, reference_loss
from .towers import embed_image, embed_text, embed_tokens, image_features

PATCH_BIAS_START, LOGIT_BIAS_START = -2.0, -10.0
CONTRAST, PATCH, FRAME, GOOD_FRAME_PATCH_WEIGHT = 0.5, 1.0, 2.0, 0.25
#: The frame's bias is a logit and moves in whole units.
FRAME_BIAS_SHARE = 3.0
EMBED_CHUNK = 512


class Trained(torch.nn.Module):
    """The model and a stage's own parameters under the names they have in files."""

    def __init__(self, job, ranks, own):
        super().__init__()
        self.model, stored = load(job.config, job.weights)
        self.job, self.ranks = job, ranks
        self.options = {"dtype": torch.bfloat16 if job.precision == "bf16" else torch.float32, "attention": job.attention}
        self.own = torch.nn.ParameterDict()
        for name, start in own.items():
            value = stored.get(name.replace("·", "."), None)
            self.own[name] = torch.nn.Parameter(start if value is None else value.float().reshape(start.shape))

    def named(self):
        """Every parameter by its name in a file; a dot cannot stand in a ParameterDict's key."""
        return [*self.model.named_parameters(), *((name.replace("·", "."), value) for name, value in self.own.items())]

    def learn(self, learns):
        for name, value in self.named():
            value.requires_grad_(learns(name))

    @property
    def scale(self):
        return self.model.logit_scale.exp()

    def texts(self, ids):
        return embed_text(self.model.text, ids, **self.options)

    def look(self, pixels, patches=True, kept=None):
        return embed_image(self.model.visual.trunk, pixels, patches=patches, kept=kept, **self.options)

    def word_direction(self):
        words = self.job.words
        ids = torch.tensor([*words["good"], *words["bad"]], device=self.ranks.device)
        return losses.directions(self.texts(ids), len(words["good"]))

    def embed_rows(self, ids, count):
        """[T, L] captions, this rank's rows of them by this rank; padded to few different sizes, each compiled once."""
        start, end = self.ranks.range(count)
        return self.ranks.gather(self.padded_texts(ids[start:end]), count)

    def padded_texts(self, ids, text=None):
        """By this model's text tower or another's."""
        padded = padded_size(len(ids)) if self.job.compile else max(len(ids), 1)
        return embed_text(text or self.model.text, F.pad(ids, (0, 0, 0, padded - len(ids))), **self.options)[: len(ids)]


def padded_size(count):
    if count > 256:
        return -(-count // 256) * 256
    return 1 << max(3, (max(count, 1) - 1).bit_length())


class Train(Trained):
    def __init__(self, job, ranks):
        own = {}
        if job.recipe["patchLoss"] > 0:
            own["patch_bias"] = torch.tensor(PATCH_BIAS_START)
        if job.recipe["loss"] == "siglip":
            own["logit_bias"] = torch.tensor(LOGIT_BIAS_START)
        if job.recipe.get("referenceLoss", 0) > 0:
            own.update(reference_scale=torch.tensor(SCALE_START), reference_bias=torch.tensor(BIAS_START))
        super().__init__(job, ranks, own)
        self.clip_loss = ClipLoss(local_loss=True, gather_with_grad=True, rank=ranks.rank, world_size=ranks.world)

    def shared(self):
        """What the loss reads beside the embeddings, alike on all ranks."""
        return [self.model.logit_scale, *self.own.values()]

    def has_patches(self, batch):
        return "patch_weights" in batch and self.job.recipe["patchLoss"] > 0

    def forward(self, batch):
        if "image_gradients" in batch:
            return self.replay(batch)
        with_patches = self.has_patches(batch)
        with_references = self.has_references(batch)
        if with_references:
            images, patches, tokens = self.look_at_all(batch["pixel_values"])
        else:
            images, patches = self.look(batch["pixel_values"], with_patches, batch.get("kept"))
        if "positive" not in batch and self.job.recipe["loss"] == "clip":
            start, end = self.ranks.range(len(batch["ids"]))
            return self.clip_loss(images, self.texts(batch["ids"][start:end]), self.scale), {}
        texts = self.embed_rows(batch["ids"], len(batch["ids"]))
        contrast = self.contrast(self.ranks.gather(images, batch["size"]), texts, batch)
        if not with_patches:
            return contrast, {}
        patch = self.patch_share(patches, batch)
        loss, parts = contrast + self.job.recipe["patchLoss"] * patch, {"contrast": contrast, "patch": patch}
        if with_references:
            parts["references"] = self.reference_share(tokens, batch)
            loss = loss + self.job.recipe["referenceLoss"] * parts["references"]
        return loss, parts

    def look_at_all(self, pixels):
        return embed_tokens(self.model.visual.trunk, pixels, self.job.recipe["tokenLayers"], **self.options)

    def has_references(self, batch):
        return "episode" in batch and self.job.recipe.get("referenceLoss", 0) > 0

    def reference_share(self, tokens, batch):
        own = self.own["reference_scale"], self.own["reference_bias"]
        return reference_loss(tokens, batch["flaw"], batch["patch_targets"], batch["patch_weights"], *own)

    def replay(self, part):
        """A micro-batch once more, for the gradients that the whole batch's contrast has for its embeddings."""
        with_patches = self.has_patches(part)
        images, patches = self.look(part["pixel_values"], with_patches, part.get("kept"))
        loss = (images * part["image_gradients"]).sum() + (self.padded_texts(part["ids"]) * part["text_gradients"]).sum()
        loss = loss + sum((value * gradient).sum() for value, gradient in part["shared"])
        if not with_patches:
            return loss, {}
        patch = self.patch_share(patches, part)
        return loss + self.job.recipe["patchLoss"] * patch, {"patch": patch}

    def contrast(self, images, texts, batch):
        if self.job.recipe["loss"] == "siglip":
            positive = batch["positive"].float() if "positive" in batch else torch.eye(len(images), device=images.device)
            blocked = batch["blocked"].float() if "blocked" in batch else None
            return losses.sigmoid(images, texts, self.scale, self.own["logit_bias"], positive, blocked)
        if "positive" in batch:
            return losses.contrastive(images, texts, self.scale, batch["positive"], batch["blocked"])
        return tiled_contrastive(images, texts, self.scale)

    def patch_share(self, patches, batch):
        """This rank's share of the mean over all patches of the batch, times the number of ranks."""
        logits = self.scale * patches @ self.word_direction() + self.own["patch_bias"]
        loss = F.binary_cross_entropy_with_logits(logits, batch["patch_targets"], reduction="none")
        return self.ranks.world * (loss * batch["patch_weights"]).sum() / batch["patch_weight_sum"].clamp(min=1e-6)

    def after_load(self):
        self.learn(lambda name: True)


class Pretrain(Trained):
    def __init__(self, job, ranks):
        width = job.config["image"]["width"]
        teacher = job.teacher or {}
        length = teacher["config"]["image"]["width"] if "config" in teacher else teacher["length"]
        generator = torch.Generator().manual_seed(job.seed)
        draw = lambda *shape: 0.02 * torch.randn(*shape, generator=generator)  # noqa: E731
        super().__init__(job, ranks, {"mask_token": draw(1, 1, width), "mim_head·weight": draw(length, width), "mim_head·bias": torch.zeros(length)})
        self.teacher = [load(teacher["config"], teacher["weights"])[0].visual.trunk.to(ranks.device)] if "config" in teacher else None

    def after_load(self):
        own = {name.replace("·", ".") for name in self.own}
        self.learn(lambda name: name in own or (name.startswith("visual.") and not name.startswith("visual.trunk.head.")))

    def forward(self, batch):
        pixels, masked = batch["pixel_values"], batch["masked"]
        seen = image_features(self.model.visual.trunk, pixels, masked=masked, mask_token=self.own["mask_token"], **self.options)
        predicted = F.linear(seen.float(), self.own["mim_head·weight"], self.own["mim_head·bias"])
        if self.teacher:
            with torch.no_grad():
                wanted = image_features(self.teacher[0], pixels, **self.options)
            each = 1 - F.cosine_similarity(predicted, wanted.float(), dim=-1, eps=1e-12)
        else:
            each = (predicted - batch["targets"]).square().mean(-1)
        return self.ranks.world * (each * masked).sum() / batch["masked_sum"].clamp(min=1), {}


class Tune(Trained):
    def __init__(self, job, ranks):
        super().__init__(job, ranks, {"frame_bias": torch.tensor(0.0)})

    own_shares = {"frame_bias": FRAME_BIAS_SHARE}

    def after_load(self):
        self.learn(lambda name: not name.startswith("text."))
        words = self.job.words
        with torch.no_grad():
            ids = torch.tensor([*words["good"], *words["bad"]], device=self.ranks.device)
            self.words = self.texts(ids)
        self.direction = losses.directions(self.words, len(words["good"]))
        self.known = {}

    def begin(self, batch):
        """A site's frames lie anywhere on the words' scale: the first steps should not be spent on moving all of them."""
        with torch.no_grad():
            images, patches = self._logits(batch)
            self.own["frame_bias"].copy_(-self._frames(images, patches, batch).mean())

    def forward(self, batch):
        embeds, patches = self.look(batch["pixel_values"])
        embeds = self.ranks.gather(embeds, batch["size"])
        patches = self.ranks.gather(self.scale * patches @ self.direction, batch["size"])
        images = self.scale * embeds @ self.direction
        masked = batch["patch_targets"].shape[0]
        contrast = self._contrast(embeds[:masked], batch)
        on_masks = losses.weighted_cross_entropy(patches[:masked], batch["patch_targets"], batch["patch_weights"])
        is_bad = batch["frame_is_bad"].float()
        on_frames = patches[masked:].reshape(len(is_bad), -1)
        good = (1 - is_bad)[:, None].expand_as(on_frames)
        on_good = losses.weighted_cross_entropy(on_frames, torch.zeros_like(on_frames), good)
        logits = self._frames(images, patches, batch) + self.own["frame_bias"]
        frame = losses.tolerant_cross_entropy(logits, is_bad, self.job.recipe["noiseTolerance"])
        patch = on_masks + GOOD_FRAME_PATCH_WEIGHT * on_good
        return CONTRAST * contrast + PATCH * patch + FRAME * frame, {"contrast": contrast, "patch": patch, "frame": frame}

    def _logits(self, batch):
        embeds, patches = self.look(batch["pixel_values"])
        gather = lambda rows: self.ranks.gather(rows, batch["size"])  # noqa: E731
        return gather(self.scale * embeds @ self.direction), gather(self.scale * patches @ self.direction)

    def _frames(self, images, patches, batch):
        """(1 − imageWeight) · mean of a frame's hottest patches + imageWeight · mean of its tiles: as a device computes it."""
        masked, count = batch["patch_targets"].shape[0], len(batch["frame_is_bad"])
        rows = patches[masked:].reshape(count, -1)
        scoring = self.job.scoring
        top = losses.mean_of_top(rows, max(1, int(rows.shape[1] * scoring["topRatio"] + 0.5)))
        return top * (1 - scoring["imageWeight"]) + images[masked:].reshape(count, -1).mean(1) * scoring["imageWeight"]

    def _contrast(self, images, batch):
        """Columns: words, then the replay's captions; a crop says nothing of captions, a replayed surface nothing of words."""
        crops, words = batch["crop_is_bad"], self.words
        captions = self._captions(batch["ids"]) if "ids" in batch else words[:0]
        rows = len(images)
        positive = images.new_zeros(rows, len(words) + len(captions))
        blocked = torch.ones_like(positive)
        is_bad_word = torch.arange(len(words), device=words.device) >= len(self.job.words["good"])
        positive[: len(crops), : len(words)] = (is_bad_word[None] == crops.bool()[:, None]).float()
        blocked[: len(crops), : len(words)] = 0
        if len(captions):
            positive[len(crops) :, len(words) :] = batch["positive"].float()
            blocked[len(crops) :, len(words) :] = batch["blocked"].float()
        return losses.contrastive(images, torch.cat((words, captions)), self.scale, positive, blocked)

    def _captions(self, ids):
        """Embeddings by a text tower that no longer changes: each caption once."""
        keys = [tuple(row) for row in ids.tolist()]
        fresh = [key for key in dict.fromkeys(keys) if key not in self.known]
        with torch.no_grad():
            for start in range(0, len(fresh), EMBED_CHUNK):
                part = fresh[start : start + EMBED_CHUNK]
                self.known.update(zip(part, self.padded_texts(torch.tensor(part, device=ids.device))))
        return torch.stack([self.known[key] for key in keys])


class Distill(Trained):
    def __init__(self, job, ranks):
        super().__init__(job, ranks, {})
        # Held in a list: a teacher is no part of what is trained, saved or moved.
        self.teacher = [load(job.teacher["config"], job.teacher["weights"])[0].to(ranks.device).eval()]

    def after_load(self):
        self.learn(lambda name: name.startswith("visual."))
        words = self.job.words
        ids = torch.tensor([*words["good"], *words["bad"]], device=self.ranks.device)
        with torch.no_grad():
            self.direction = losses.directions(embed_text(self.teacher[0].text, ids, **self.options), len(words["good"]))

    def forward(self, batch):
        if "image_gradients" in batch:
            return self.replay(batch)
        images, patches = self.look(batch["pixel_values"])
        told, told_patches = self.ask(batch["pixel_values"])
        gather = lambda rows: self.ranks.gather(rows, batch["size"])  # noqa: E731
        parts = {name: gather(rows).mean() for name, rows in self._of_each(images, patches, told, told_patches).items()}
        parts.update(self.between(gather(images), gather(told), batch))
        return self.weighted(parts), parts

    def replay(self, part):
        """A micro-batch once more: through its embeddings the terms between pictures, and its share of its own terms' means."""
        images, patches = self.look(part["pixel_values"])
        own = self._of_each(images, patches, *self.ask(part["pixel_values"]))
        parts = {name: self.ranks.world * rows.sum() / part["size"] for name, rows in own.items()}
        return (images * part["image_gradients"]).sum() + self.weighted(parts), parts

    def ask(self, pixels, patches=True):
        with torch.no_grad():
            return embed_image(self.teacher[0].visual.trunk, pixels, patches=patches, **self.options)

    def weighted(self, parts):
        return sum(self.job.recipe["terms"][name] * value for name, value in parts.items())

    def _of_each(self, images, patches, told, told_patches):
        """One number a picture."""
        terms, scale, own = self.job.recipe["terms"], self.scale, {}
        if terms["features"] > 0:
            own["features"] = (images - told).square().sum(-1) + (patches - told_patches).square().sum(-1).mean(-1)
        if terms["logits"] > 0:
            certainty = lambda seen, said: losses.bernoulli_divergence(scale * seen @ self.direction, scale * said @ self.direction)  # noqa: E731
            own["logits"] = certainty(images, told) + certainty(patches, told_patches).mean(-1)
        return own

    def between(self, images, told, batch):
        """The terms in which every picture of the batch counts for every other; rows of all ranks."""
        terms, parts = self.job.recipe["terms"], {}
        with torch.no_grad():
            captions = self.padded_texts(batch["ids"], self.teacher[0].text) if "ids" in batch else None
        if terms["interactive"] > 0:
            parts["interactive"] = self._interactive(images, told, captions, batch)
        if terms["affinity"] > 0 and captions is not None:
            parts["affinity"] = losses.affinity(images, told, captions, self.scale)
        return parts

    def _interactive(self, images, told, captions, batch):
        with_pictures = losses.contrastive(images, told, self.scale, torch.eye(len(images), device=images.device))
        if captions is None:
            return with_pictures
        return (with_pictures + losses.contrastive(images, captions, self.scale, batch["positive"], batch["blocked"])) / 2


STAGES = {"pretrain": Pretrain, "train": Train, "tune": Tune, "distill": Distill}
