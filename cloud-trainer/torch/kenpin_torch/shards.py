"""WebDataset shards as batches: a draw's number alone says which samples are in it, whoever reads them.

In: folders of .tar files, kenpin's own (with index.json) or anybody's with <key>.jpg, .png or .webp beside <key>.txt or
<key>.json. Every shard's members are found once, by their headers; after that a sample is one read at a known place, so that a
run that goes on reads nothing twice and every rank reads its own rows alone. An epoch takes the shards in an order of its own
and the samples of a few neighbouring shards in an order of their own, which keeps reads of one batch near each other.
"""
import io
import json
import pathlib
import random
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer, default_bpe
from PIL import Image

from .data import Unreadable
from .job import Refused

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
#: Shards whose samples are mixed; a sample's neighbours in a batch come from at most so many files.
MIXED = 8
THREADS = 16


class Shards:
    def __init__(self, folders, job, ranks):
        self.job, self.ranks, self.size = job, ranks, job.recipe["batch"]
        files = [path for folder in folders for path in shard_files(pathlib.Path(folder))]
        self.samples = [index_shard(path) for path in files]
        self.starts = np.cumsum([0, *(len(samples) for samples in self.samples)])
        self.count = int(self.starts[-1])
        if self.count == 0:
            raise Refused(f"{', '.join(map(str, folders))}: no shard holds a picture with a caption")
        self.files, self.open = files, threading.local()
        self.tokens = tokenizer(job.config["text"])
        self.pool = ThreadPoolExecutor(THREADS)
        mean, std = (np.asarray(job.config["preprocess"][key], dtype=np.float32) for key in ("mean", "std"))
        self.mean, self.std = mean, std
        self.orders = {}

    def read(self, draw, progress):
        places = range(draw * self.size, (draw + 1) * self.size)
        start, end = self.ranks.range(self.size)
        numbers = [self._sample_at(place) for place in places]
        captions = [self._caption(number, place) for number, place in zip(numbers, places)]
        pixels = list(self.pool.map(self._pixels, numbers[start:end], list(places)[start:end]))
        batch = {"pixel_values": torch.from_numpy(np.stack(pixels)), "size": self.size, **self._relations(captions)}
        if self.job.stage == "train":
            batch.update(self._kept(draw, progress, start, end))
        return batch

    def _sample_at(self, place):
        epoch, at = divmod(place, self.count)
        if epoch not in self.orders:
            self.orders[epoch] = epoch_order([len(samples) for samples in self.samples], self.starts, self.job.seed + epoch)
        return int(self.orders[epoch][at])

    def _find(self, number):
        shard = int(np.searchsorted(self.starts, number, "right")) - 1
        return self.files[shard], self.samples[shard][number - self.starts[shard]]

    def _caption(self, number, place):
        captions = self._find(number)[1][2]
        return captions[random.Random(f"{self.job.seed} {place}").randrange(len(captions))], captions

    def _pixels(self, number, place):
        path, (offset, length, _) = self._find(number)
        try:
            with Image.open(io.BytesIO(self._bytes(path, offset, length))) as image:
                picture = image.convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise Unreadable(f"a picture at byte {offset} of {path.name}: {error}") from error
        return self._augmented(picture, random.Random(f"{self.job.seed + 1} {place}"))

    def _bytes(self, path, offset, length):
        handles = self.open.__dict__.setdefault("handles", {})
        if path not in handles:
            if len(handles) > 64:
                handles.pop(next(iter(handles))).close()
            try:
                handles[path] = open(path, "rb")
            except OSError as error:
                raise Unreadable(f"{path.name}: {error}") from error
        handles[path].seek(offset)
        return handles[path].read(length)

    def _augmented(self, picture, rng):
        """RandomResizedCrop of the released recipe: a share of the area, aspect 3:4 to 4:3; bicubic."""
        recipe, side = self.job.recipe["augmentation"], self.job.config["image"]["size"]
        width, height = picture.size
        box = (0, 0, width, height)
        for _ in range(10):
            area = width * height * rng.uniform(*recipe["crop"])
            aspect = (4 / 3) ** rng.uniform(-1, 1)
            wide, high = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if 0 < wide <= width and 0 < high <= height:
                left, top = rng.randint(0, width - wide), rng.randint(0, height - high)
                box = (left, top, left + wide, top + high)
                break
        picture = picture.resize((side, side), Image.Resampling.BICUBIC, box=box, reducing_gap=None)
        if recipe["flip"] and rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return ((np.asarray(picture, dtype=np.float32) / 255 - self.mean) / self.std).transpose(2, 0, 1)

    def _relations(self, captions):
        """Distinct captions; a picture's other captions are neither positives nor negatives. All different: open_clip's own loss."""
        texts = list(dict.fromkeys(own for own, _ in captions))
        if len(texts) == len(captions) and all(len(all_of) == 1 for _, all_of in captions):
            return {"ids": self.tokens(texts)}
        column = {text: i for i, text in enumerate(texts)}
        positive = torch.zeros(len(captions), len(texts), dtype=torch.bool)
        blocked = torch.zeros_like(positive)
        for row, (own, all_of) in enumerate(captions):
            for text in all_of:
                if text in column:
                    blocked[row, column[text]] = True
            positive[row, column[own]], blocked[row, column[own]] = True, False
        return {"ids": self.tokens(texts), "positive": positive, "blocked": blocked}

    def _kept(self, draw, progress, start, end):
        dropout = self.job.recipe["patchDropout"]
        if dropout["ratio"] == 0 or progress >= 1 - dropout["unmaskedTail"]:
            return {}
        patches = (self.job.config["image"]["size"] // self.job.config["image"]["patch"]) ** 2
        generator = torch.Generator().manual_seed(self.job.seed * 1_000_003 + draw)
        order = torch.rand(self.size, patches, generator=generator).argsort(1)[start:end]
        return {"kept": order[:, : max(1, round(patches * (1 - dropout["ratio"])))].sort(1).values}


def shard_files(folder):
    """The folder's shards, all that its index.json names; one that is lost or cut is noticed before the first step."""
    index = folder / "index.json"
    if not index.is_file():
        files = sorted(folder.glob("*.tar"))
        if not files:
            raise Refused(f"{folder} holds no shard (.tar)")
        return files
    try:
        rows = json.loads(index.read_text())["shards"]
    except (ValueError, KeyError) as error:
        raise Refused(f"{index} is not kenpin's index of shards; write the shards again") from error
    for row in rows:
        path = folder / row["file"]
        if not path.is_file():
            raise Refused(f"the shard {path} is missing; copy it again, or write the shards again")
        if path.stat().st_size != row["bytes"]:
            raise Refused(f"the shard {path} has {path.stat().st_size} bytes, index.json says {row['bytes']}; copy it again")
    return [folder / row["file"] for row in rows]


def index_shard(path):
    """(offset, length, captions) of each picture that may be trained on and has a caption."""
    found, samples = {}, []
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                key, _, ending = name.partition(".")
                parts = found.setdefault(f"{folder}/{key}", {})
                if f".{ending.lower()}" in PICTURES:
                    parts["picture"] = (member.offset_data, member.size)
                elif ending.lower() in ("txt", "json") and member.size < 2**20:
                    parts[ending.lower()] = tar.extractfile(member).read()
    except (tarfile.TarError, OSError) as error:
        raise Refused(f"the shard {path} cannot be read: {error}; copy it again") from error
    for parts in found.values():
        captions = captions_of(parts)
        if "picture" in parts and captions:
            samples.append((*parts["picture"], captions))
    return samples


def captions_of(parts):
    if "json" in parts:
        try:
            said = json.loads(parts["json"])
        except ValueError:
            said = {}
        if isinstance(said, dict) and str(said.get("format", "")).startswith("kenpin-sample"):
            return [] if said.get("split") == "test" else said["captions"]
    text = parts.get("txt", b"").decode("utf8", "replace").strip()
    return [text] if text else []


def epoch_order(lengths, starts, seed):
    rng = random.Random(seed)
    shards = list(range(len(lengths)))
    rng.shuffle(shards)
    order = []
    for i in range(0, len(shards), MIXED):
        some = [starts[shard] + at for shard in shards[i : i + MIXED] for at in range(lengths[shard])]
        rng.shuffle(some)
        order += some
    return np.asarray(order, dtype=np.int64)


def tokenizer(text):
    """CLIP's, with as many merges as the model's vocabulary has; ids after the end are 0, as kenpin writes them."""
    tokens = SimpleTokenizer(default_bpe(), context_length=text["context"])
    if text["merges"] >= len(tokens.bpe_ranks):
        return lambda texts: tokens(texts).int()
    kept = dict(list(tokens.bpe_ranks.items())[: text["merges"]])
    alphabet = list(tokens.byte_encoder.values())
    words = [*alphabet, *(one + "</w>" for one in alphabet), *("".join(pair) for pair in kept), "<start_of_text>", "<end_of_text>"]
    tokens.bpe_ranks, tokens.encoder = kept, {word: i for i, word in enumerate(words)}
    tokens.cache = {word: word for word in words[-2:]}
    tokens.sot_token_id, tokens.eot_token_id = len(words) - 2, len(words) - 1
    return lambda texts: tokens(texts).int()
