"""Forward GFLOPs of a picture and of a caption, a multiply and an add being two; as src/train/cost.ts."""


def image_gflops(config, kept_ratio=1.0):
    image = config["image"]
    width, patch = image["width"], image["patch"]
    patches = (image["size"] // patch) ** 2
    tokens = 1 + round(patches * kept_ratio)
    per_token = 4 * width**2 + (3 if image["mlp"] == "swiglu" else 2) * width * image["mlpHidden"]
    blocks = image["depth"] * (tokens * per_token + 2 * tokens**2 * width)
    return 2 * (blocks + patches * 3 * patch**2 * width + width * config["embedDim"]) / 1e9


def text_gflops(config):
    text = config["text"]
    width, context = text["width"], text["context"]
    blocks = text["layers"] * (context * 12 * width**2 + 2 * context**2 * width)
    return 2 * (blocks + width * config["embedDim"]) / 1e9
