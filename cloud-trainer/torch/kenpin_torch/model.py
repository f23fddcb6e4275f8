"""The model of a kenpin configuration, built from open_clip's text tower and timm's EVA image tower.

In: a configuration as packages/clip/models/*.json has it. Out: a module whose state_dict has open_clip's names, so that
its weights are the very tensors the TypeScript side reads.
"""
import timm
import torch
from open_clip.model import CustomTextCLIP
from safetensors import SafetensorError
from safetensors.torch import load_file

from .job import Refused

#: By MLP, norm inside attention, and where a block's norms stand.
TIMM_NAME = {
    ("swiglu", True, "pre"): "eva02_base_patch16_clip_224",
    ("gelu", False, "pre"): "eva_giant_patch14_clip_224",
    ("gelu", False, "post"): "eva02_enormous_patch14_clip_224",
}


def build(config, patch_drop=0.0):
    image, text = config["image"], config["text"]
    model = CustomTextCLIP(
        embed_dim=config["embedDim"],
        # A placeholder tower: open_clip cannot pass sizes on to timm, so the real one is set below.
        vision_cfg=dict(image_size=16, patch_size=16, width=64, layers=1, head_width=64),
        text_cfg=dict(
            context_length=text["context"],
            vocab_size=512 + text["merges"] + 2,
            width=text["width"],
            heads=text["heads"],
            layers=text["layers"],
        ),
    )
    trunk = timm.create_model(
        TIMM_NAME[image["mlp"], image["subNorm"], image["norm"]],
        num_classes=config["embedDim"],
        global_pool="token",
        img_size=image["size"],
        patch_size=image["patch"],
        embed_dim=image["width"],
        depth=image["depth"],
        num_heads=image["width"] // image["headDim"],
        mlp_ratio=(image["mlpHidden"] + 0.5) / image["width"],  # timm cuts the product off to a whole number
        patch_drop_rate=patch_drop,
    )
    model.visual = ImageTower(trunk)
    return model


class ImageTower(torch.nn.Module):
    """Gives the trunk's weights the names they have in open_clip."""

    def __init__(self, trunk):
        super().__init__()
        self.trunk = trunk

    def forward(self, pixels):
        return self.trunk(pixels)


def load(config, path):
    """The model with the weights of a safetensors file; what the file has beyond the model's comes back by name."""
    model = build(config)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise Refused(f"the weights {path} cannot be read: {error}; copy or write them again") from error
    names = model.state_dict()
    for name, value in names.items():
        found = tensors.get(name)
        if found is None or found.shape != value.shape:
            what = "nothing" if found is None else list(found.shape)
            raise Refused(f"{path}: expected {name} {list(value.shape)}, found {what}; the weights belong to another model than {config['name']}")
    model.load_state_dict({name: tensors[name].float() for name in names})
    return model, {name: value for name, value in tensors.items() if name not in names}
