"""The model of a kenpin configuration, built from open_clip's text tower and timm's EVA image tower.

In: a configuration as packages/clip/models/*.json has it. Out: a module whose state_dict has open_clip's names, so that
its weights are the very tensors the TypeScript side reads.
"""
import timm
import torch
from open_clip.model import CustomTextCLIP

TIMM_NAME = {("swiglu", True): "eva02_base_patch16_clip_224", ("gelu", False): "eva_giant_patch14_clip_224"}


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
    model.visual = ImageTower(timm.create_model(
        TIMM_NAME[image["mlp"], image["subNorm"]],
        num_classes=config["embedDim"],
        global_pool="token",
        img_size=image["size"],
        patch_size=image["patch"],
        embed_dim=image["width"],
        depth=image["depth"],
        num_heads=image["width"] // image["headDim"],
        mlp_ratio=(image["mlpHidden"] + 0.5) / image["width"],  # timm cuts the product off to a whole number
        patch_drop_rate=patch_drop,
    ))
    return model


class ImageTower(torch.nn.Module):
    """Gives the trunk's weights the names they have in open_clip."""

    def __init__(self, trunk):
        super().__init__()
        self.trunk = trunk

    def forward(self, pixels):
        return self.trunk(pixels)


def embed_images(model, pixels):
    """[B, 3, S, S] to `image_embeds` [B, D] and `patch_embeds` [B, P, D], all of length 1."""
    trunk = model.visual.trunk
    tokens = trunk.head(trunk.fc_norm(trunk.forward_features(pixels)))
    tokens = torch.nn.functional.normalize(tokens.float(), dim=-1)
    return tokens[:, 0], tokens[:, 1:]


def embed_texts(model, ids):
    return torch.nn.functional.normalize(model.encode_text(ids).float(), dim=-1)
