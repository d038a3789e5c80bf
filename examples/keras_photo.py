"""Explain a photograph with MobileNetV2 in Keras; needs `pip install '.[tensorflow]'`.

Writes a picture and an explanation a method. `torch_photo.py` compares its own with them.
"""

import pellucid
from pellucid.demo import demo_model, demo_photos, load_photo

METHODS = {
    "saliency": {},
    "gradient_x_input": {},
    "integrated_gradients": {"steps": 16},
    "smoothgrad": {"samples": 8},
    "gradcam": {},
    "occlusion": {"window": 56},
}


def main() -> None:
    network, class_names, preprocess = demo_model()
    model = pellucid.wrap(network, class_names=class_names, preprocess=preprocess)
    photos = {photo.name: load_photo(photo.path)[None] for photo in demo_photos()}
    for method, parameters in METHODS.items():
        e = pellucid.explain(model, photos["samoyed"], method, **parameters)
        e.plot().savefig(f"samoyed-{method}.png", dpi=130)
        e.save(f"samoyed-{method}.zarr")
        print(e)


if __name__ == "__main__":
    main()
