"""A real network and real photos, shipped with the package; importing this loads no framework."""

from pellucid.demo.model import DemoModel, demo_model
from pellucid.demo.photos import Photo, demo_photos, load_photo

__all__ = ["DemoModel", "Photo", "demo_model", "demo_photos", "load_photo"]
